//! Who may do what with a Pusher: one table. Whether the caller is who it says is decided elsewhere.

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read it, secrets masked.
    See,
    /// Read its secrets in clear.
    SeeSecrets,
    /// Name it as the base of a Preset or of a Group's member.
    BuildOn,
    /// Push to it, knowing its id.
    Push,
    /// Change its fields.
    Change,
    /// Make it shared.
    Share,
    /// Delete it (whether others build on it is another question).
    Delete,
    /// Revoke a task that was pushed to it.
    Revoke,
    /// Read the tasks that were pushed to it.
    ReadTasks,
}

/// What the caller is to the Pusher. An admin that owns the Pusher is both: ask for either, one "yes" is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Nobody that we know.
    Anonymous,
    /// An account, but not the owner's.
    Stranger,
    /// Its owner. Nobody owns a Service; there it is the account that made the push in question.
    Owner,
    /// An admin who does not own it.
    Admin,
}

/// How a Pusher stands to the public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// A Service.
    Service {
        /// The operator lets anybody push straight to it.
        open: bool,
    },
    /// A Preset or Group: whoever knows its id may push to it.
    Private,
    /// A Preset or Group that needs its owner's token.
    Protected,
    /// A public Preset or Group, final.
    Shared,
}

impl Standing {
    /// That of a Preset or Group.
    pub fn of(protected: bool, shared: bool) -> Self {
        match (protected, shared) {
            (true, _) => Self::Protected,
            (false, true) => Self::Shared,
            (false, false) => Self::Private,
        }
    }
}

/// Whether a caller may do something.
pub fn may(action: Action, relation: Relation, standing: Standing) -> bool {
    use Relation::{Admin, Anonymous, Owner, Stranger};
    let among = |allowed: &[Relation]| allowed.contains(&relation);
    let everybody: &[Relation] = &[Anonymous, Stranger, Owner, Admin];
    let accounts: &[Relation] = &[Stranger, Owner, Admin];
    among(match (action, standing) {
        (Action::See, Standing::Service { .. } | Standing::Shared) => everybody,
        (Action::See, Standing::Private | Standing::Protected) => &[Owner, Admin],

        // A Service holds nobody's secrets.
        (Action::SeeSecrets, Standing::Service { .. }) => &[],
        (Action::SeeSecrets, _) => &[Owner],

        (Action::BuildOn, Standing::Service { .. } | Standing::Shared) => accounts,
        (Action::BuildOn, Standing::Private | Standing::Protected) => &[Owner],

        (Action::Push, Standing::Service { open: true } | Standing::Private) => everybody,
        (Action::Push, Standing::Service { open: false } | Standing::Shared) => accounts,
        (Action::Push, Standing::Protected) => &[Owner],

        (Action::Change, Standing::Service { .. }) => &[Admin],
        (Action::Change, Standing::Private | Standing::Protected) => &[Owner],
        (Action::Change, Standing::Shared) => &[],

        (Action::Share, Standing::Private) => &[Owner],
        (Action::Share, _) => &[],

        (Action::Delete, Standing::Service { .. } | Standing::Shared) => &[Admin],
        (Action::Delete, Standing::Private | Standing::Protected) => &[Owner, Admin],

        (Action::Revoke | Action::ReadTasks, _) => &[Owner, Admin],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATIONS: [Relation; 4] = [Relation::Anonymous, Relation::Stranger, Relation::Owner, Relation::Admin];
    const STANDINGS: [Standing; 5] = [
        Standing::Service { open: false },
        Standing::Service { open: true },
        Standing::Private,
        Standing::Protected,
        Standing::Shared,
    ];

    /// A word a standing, in the order above; in it a letter a relation, upper case for "may".
    const TABLE: [(Action, &str); 9] = [
        (Action::See, "NSOA NSOA nsOA nsOA NSOA"),
        (Action::SeeSecrets, "nsoa nsoa nsOa nsOa nsOa"),
        (Action::BuildOn, "nSOA nSOA nsOa nsOa nSOA"),
        (Action::Push, "nSOA NSOA NSOA nsOa nSOA"),
        (Action::Change, "nsoA nsoA nsOa nsOa nsoa"),
        (Action::Share, "nsoa nsoa nsOa nsoa nsoa"),
        (Action::Delete, "nsoA nsoA nsOA nsOA nsoA"),
        (Action::Revoke, "nsOA nsOA nsOA nsOA nsOA"),
        (Action::ReadTasks, "nsOA nsOA nsOA nsOA nsOA"),
    ];

    #[test]
    fn the_table_cell_by_cell() {
        for (action, row) in TABLE {
            let words: Vec<&str> = row.split(' ').collect();
            assert_eq!(words.len(), STANDINGS.len());
            for (standing, word) in STANDINGS.into_iter().zip(words) {
                assert_eq!(word.to_ascii_lowercase(), "nsoa");
                for (relation, letter) in RELATIONS.into_iter().zip(word.chars()) {
                    let expected = letter.is_ascii_uppercase();
                    assert_eq!(may(action, relation, standing), expected, "{action:?} {relation:?} {standing:?}");
                }
            }
        }
    }
}
