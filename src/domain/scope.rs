//! What a token lets its holder do. Which operation needs what is the API's to say.

/// One of the rights that a token can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Push, and take pushes back.
    Push,
    /// Read what is one's own; secrets are masked unless `Manage` is there as well.
    Read,
    /// Make, change, share and delete; read one's own secrets.
    Manage,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Push, Self::Read, Self::Manage];

    /// The word for it, in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }

    /// The scope that a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope: what a session has.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether this one is among them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are there, in the order of `Scope::ALL`.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    /// The first of these that `held` does not have.
    pub fn missing_in(self, held: Self) -> Option<Scope> {
        self.iter().find(|scope| !held.has(*scope))
    }

    /// The words with a space between them, as they are stored.
    pub fn to_text(self) -> String {
        let words: Vec<&str> = self.iter().map(Scope::as_str).collect();
        words.join(" ")
    }

    /// Reads what `to_text` wrote. A word that this version does not know gives no right.
    pub fn of_text(text: &str) -> Self {
        text.split(' ').filter_map(Scope::parse).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)))
    }
}

fn bit(scope: Scope) -> u8 {
    match scope {
        Scope::Push => 1,
        Scope::Read => 2,
        Scope::Manage => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_comes_back_from_its_text() {
        for bits in 0..8 {
            let scopes = Scopes(bits);
            assert_eq!(Scopes::of_text(&scopes.to_text()), scopes);
            assert_eq!(scopes.iter().count(), bits.count_ones() as usize);
        }
        assert_eq!(Scopes::all().to_text(), "push read manage");
        assert_eq!(Scopes::of_text("push everything  read"), [Scope::Push, Scope::Read].into_iter().collect());
    }

    #[test]
    fn what_is_missing_is_named() {
        let held: Scopes = [Scope::Push].into_iter().collect();
        assert_eq!(held.missing_in(Scopes::all()), None);
        assert_eq!(Scopes::all().missing_in(held), Some(Scope::Read));
        assert!(Scopes::default().is_empty() && !held.is_empty());
    }
}
