//! Why a request that is understood is refused: a closed list, each with a stable code.

use super::id::PusherId;
use super::params::ParamType;

/// What is wrong with one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamProblem {
    /// The parameter at fault, as the caller would name it (`p1.title` for a member's).
    pub param: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The ways in which a parameter can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Required, and absent or empty.
    Missing,
    /// The value is not of the declared type.
    NotA(ParamType),
    /// A list where one value of this type is wanted, as when a form or query gives a name twice.
    NotOne(ParamType),
    /// The text is longer than so many characters.
    TooLong(usize),
    /// The text has more than so many bytes.
    TooLarge(usize),
    /// Not among the words allowed.
    NotOneOf(Vec<String>),
    /// Smaller than allowed; the limit as text.
    Below(String),
    /// Larger than allowed; the limit as text.
    Above(String),
    /// A URL of a scheme other than these.
    SchemeNotIn(Vec<String>),
    /// An entry of a list, counted from 1, is wrong in this way.
    Entry(usize, Box<Problem>),
    /// Not a name that a parameter may have.
    BadName,
    /// A reserved name, where parameters are predefined or addressed to a member.
    Reserved,
    /// A predefined value still has this placeholder open.
    Unfilled(u32),
    /// A dotted name addresses a member that the Group does not have.
    UnknownMember,
    /// A list or an object cannot be inserted into a placeholder.
    NotInsertable,
    /// Holds a NUL character.
    HoldsNul,
    /// Not whole seconds from 0 to 86400.
    BadDelay,
    /// Not a time in one of the accepted forms.
    BadAt,
    /// The time has passed.
    AtInPast,
    /// The time is more than seven days ahead.
    AtTooFar,
    /// `delay` and `at` were both given.
    DelayAndAt,
    /// The call gives more parameters than allowed; the rest of it was not looked at.
    TooMany(usize),
    /// Not 1 to 255 visible ASCII characters, or given more than once.
    BadKey,
}

impl Problem {
    /// The stable code of this problem.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "param_missing",
            Self::Unfilled(_) => "placeholder_unfilled",
            Self::AtInPast => "at_in_past",
            Self::AtTooFar => "at_too_far",
            _ => "param_invalid",
        }
    }
}

/// A field of a Pusher, an account or a query that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// Where it is: `name`, `pushers.0.name`, `param_map.amount`.
    pub field: String,
    /// What is wrong with it, a stable word (`empty`, `too_long`, `unknown_member` …).
    pub reason: &'static str,
}

/// Gathers all that is wrong with what a request says.
#[derive(Debug, Default)]
pub struct Faults {
    /// The fields that are at fault.
    pub fields: Vec<FieldFault>,
    /// The predefined parameters that are.
    pub params: Vec<ParamProblem>,
    /// Refusals that say the same of some of the fields under a code of their own.
    own: Vec<Refusal>,
}

impl Faults {
    /// This field is at fault, for this reason.
    pub fn add(&mut self, field: impl Into<String>, reason: &'static str) {
        self.fields.push(FieldFault { field: field.into(), reason });
    }

    /// This field is at fault, for this reason, which has a code of its own if it is the only one.
    pub fn add_own(&mut self, field: impl Into<String>, reason: &'static str, own: Refusal) {
        self.add(field, reason);
        self.own.push(own);
    }

    /// Whether nothing is at fault.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.params.is_empty()
    }

    /// These parameters are at fault as well, unless it is known already of what.
    pub fn extend(&mut self, params: Vec<ParamProblem>) {
        let known: Vec<String> = self.params.iter().map(|fault| fault.param.clone()).collect();
        self.params.extend(params.into_iter().filter(|fault| !known.contains(&fault.param)));
    }

    /// This field is at fault if a check of it found a reason.
    pub fn check(&mut self, field: &str, found: Result<(), &'static str>) {
        if let Err(reason) = found {
            self.add(field, reason);
        }
    }

    /// What a field was read as; nothing of meaning if it is at fault, so that `refuse_if_any` must follow.
    pub fn keep<T: Default>(&mut self, field: &str, read: Result<T, &'static str>) -> T {
        read.unwrap_or_else(|reason| {
            self.add(field, reason);
            T::default()
        })
    }

    /// # Errors
    /// All that was found, if anything was.
    pub fn refuse_if_any(self) -> Result<(), Refusal> {
        let Self { fields, params, mut own } = self;
        match (fields.is_empty(), params.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Refusal::Params(params)),
            (false, true) if own.len() == fields.len() && own.windows(2).all(|two| two[0] == two[1]) => {
                Err(own.swap_remove(0))
            }
            (false, _) => Err(Refusal::Fields { fields, params }),
        }
    }
}

/// A Pusher that is built on another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    pub id: PusherId,
    pub name: String,
}

/// A request that is understood and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Parameters at fault: all of them, never none.
    Params(Vec<ParamProblem>),
    /// What a request says is not acceptable: all that is wrong, of which at least one field.
    Fields {
        /// The fields.
        fields: Vec<FieldFault>,
        /// Predefined parameters of a Preset or Group.
        params: Vec<ParamProblem>,
    },
    /// The base is no Pusher that the caller may build on.
    BaseUnknown(PusherId),
    /// Following the bases leads back to the same Pusher.
    Cycle(PusherId),
    /// The chain of bases is longer than this.
    ChainTooDeep(usize),
    /// A Group's member leads to another Group.
    GroupInGroup(PusherId),
    /// A Group has no members.
    GroupEmpty,
    /// A Group may have no more members than this.
    GroupFull(usize),
    /// Two members of a Group have the same name.
    MemberNameTaken(String),
    /// The request or mail cannot be made of these parameters; which member, and why.
    NotRenderable {
        /// The member of a Group.
        member: Option<String>,
        /// What is wrong; names the place, shows no value.
        reason: String,
    },
    /// Others build on this Pusher.
    PusherInUse {
        /// Those that the caller may see.
        dependents: Vec<Dependent>,
        /// How many there are beside these.
        others: u64,
    },
    /// After this change others that build on the Pusher would be refused whatever they are pushed with.
    WouldBreak {
        /// Which.
        dependents: Vec<Dependent>,
        /// What would be wrong with the first of them.
        fields: Vec<FieldFault>,
        /// Which of its predefined parameters would not be taken.
        params: Vec<ParamProblem>,
    },
    /// The account has as many Presets and Groups as it may.
    TooManyPushers(usize),
    /// A shared Pusher no longer changes, and only an admin deletes it.
    SharedIsFinal,
    /// A protected Pusher cannot be shared.
    ProtectedNotShared,
    /// A Pusher cannot be shared while this base of it is not public.
    BaseNotPublic(PusherId),
    /// The call would send secrets of this Pusher elsewhere than it does, and does not come from its owner.
    AddressIsFinal(PusherId),
    /// The state does not allow this; the state it is in.
    WrongState(&'static str),
    /// The idempotency key stands for another call.
    IdempotencyMismatch,
    /// Nobody may sign up.
    RegistrationClosed,
    /// Nobody may get themselves an invitation code.
    RegistrationNotOpen,
    /// The server sends no mails of its own.
    MailNotConfigured,
    /// Nobody would be left to look after the server.
    LastAdmin,
}

impl Refusal {
    /// The same, with the first of these beginnings that a field or parameter has taken off its name.
    #[must_use]
    pub fn without(mut self, prefixes: &[String]) -> Self {
        let strip = |name: &mut String| {
            if let Some(rest) = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix.as_str())) {
                *name = rest.to_owned();
            }
        };
        match &mut self {
            Self::Params(params) => params.iter_mut().for_each(|problem| strip(&mut problem.param)),
            Self::Fields { fields, params } => {
                fields.iter_mut().for_each(|fault| strip(&mut fault.field));
                params.iter_mut().for_each(|problem| strip(&mut problem.param));
            }
            _ => {}
        }
        self
    }

    /// One field is not acceptable, for this reason: a stable word (`empty`, `too_long`, `unknown` …).
    pub fn field(field: impl Into<String>, reason: &'static str) -> Self {
        Self::Fields { fields: vec![FieldFault { field: field.into(), reason }], params: Vec::new() }
    }

    /// The stable code that a client may rely on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Params(problems) => {
                let mut codes = problems.iter().map(|p| p.problem.code());
                let first = codes.next().unwrap_or("param_invalid");
                if codes.all(|code| code == first) { first } else { "param_invalid" }
            }
            Self::Fields { .. } => "field_invalid",
            Self::BaseUnknown(_) => "base_unknown",
            Self::Cycle(_) => "pusher_cycle",
            Self::ChainTooDeep(_) => "chain_too_deep",
            Self::GroupInGroup(_) => "group_in_group",
            Self::GroupEmpty => "group_empty",
            Self::GroupFull(_) => "group_full",
            Self::MemberNameTaken(_) => "member_name_taken",
            Self::NotRenderable { .. } => "not_renderable",
            Self::PusherInUse { .. } | Self::WouldBreak { .. } => "pusher_in_use",
            Self::TooManyPushers(_) => "too_many_pushers",
            Self::SharedIsFinal => "shared_is_final",
            Self::ProtectedNotShared => "protected_not_shared",
            Self::BaseNotPublic(_) => "base_not_public",
            Self::AddressIsFinal(_) => "address_is_final",
            Self::WrongState(_) => "wrong_state",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::RegistrationClosed => "registration_closed",
            Self::RegistrationNotOpen => "registration_not_open",
            Self::MailNotConfigured => "mail_not_configured",
            Self::LastAdmin => "last_admin",
        }
    }
}
