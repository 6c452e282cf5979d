//! How the enums of the contracts are written in the state's file: by their numbers.

/// Declares how an enum is encoded. `numbered!(kind: Kind { Text, Image })` expands to a module
/// `kind` with the functions `serialize` and `deserialize` of borsh's attributes; the number is
/// the place in the list.
macro_rules! numbered {
    ($module:ident: $name:ident { $($variant:ident),* }) => {
        pub(in crate::index) mod $module {
            use std::io::{Error, ErrorKind, Read, Result, Write};

            use crate::$name;

            const ALL: &[$name] = &[$($name::$variant),*];

            pub(in crate::index) fn serialize<W: Write>(value: &$name, out: &mut W) -> Result<()> {
                let number = ALL.iter().position(|one| one == value);
                let number = number.and_then(|number| u8::try_from(number).ok());
                let unknown = || Error::new(ErrorKind::InvalidData, "a value of no number");
                out.write_all(&[number.ok_or_else(unknown)?])
            }

            pub(in crate::index) fn deserialize<R: Read>(from: &mut R) -> Result<$name> {
                let mut number = [0];
                from.read_exact(&mut number)?;
                of(number[0]).ok_or_else(|| {
                    let message = format!("no {} has the number {}", stringify!($name), number[0]);
                    Error::new(ErrorKind::InvalidData, message)
                })
            }

            /// Returns what has this number.
            pub(in crate::index) fn of(number: u8) -> Option<$name> {
                ALL.get(usize::from(number)).copied()
            }
        }
    };
}

numbered!(kind: Kind { Text, Image, Audio });
numbered!(contribution: ContributionStatus { None, Pending, Accepted, Rejected, Revoked });
numbered!(offer: ModelOffer { Active, Deprecated, Revoked });
numbered!(role: StakeRole { Contributor, Validator, Agent });
