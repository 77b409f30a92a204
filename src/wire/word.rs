//! Four-letter words: what a connection's first four bytes mean.

/// What a new connection's first four bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FirstBytes {
    /// A question, answered in plain text.
    Word(Word),
    /// Telnet's interrupt: close, and say nothing.
    TelnetClose,
    /// Anything else: the length of a frame.
    Length(i32),
}

/// Telnet's IAC IP, IAC DM as it arrives.
const TELNET_CLOSE: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];

impl FirstBytes {
    /// Tells words from lengths. After the handshake four bytes are always a length.
    pub fn of(bytes: [u8; 4]) -> Self {
        if bytes == TELNET_CLOSE {
            return Self::TelnetClose;
        }
        match Word::ALL.iter().find(|word| word.name().as_bytes() == bytes) {
            Some(word) => Self::Word(*word),
            None => Self::Length(i32::from_be_bytes(bytes)),
        }
    }
}

macro_rules! words {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A four-letter word.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Word { $(#[doc = concat!("`", $name, "`: ", $doc)] $variant,)* }

        impl Word {
            /// All of them, by name.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word itself.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

words! {
    Conf "conf" "the configuration in force",
    Cons "cons" "every connection",
    Crst "crst" "forget the counts of every connection",
    Dirs "dirs" "bytes of snapshots and of logs",
    Dump "dump" "sessions, ephemeral nodes, connections",
    Envi "envi" "the environment of the process",
    Gtmk "gtmk" "the trace mask",
    Hash "hash" "digests of the tree at past zxids",
    Isro "isro" "whether the server is read-only",
    Mntr "mntr" "every metric",
    Ruok "ruok" "whether the process is alive",
    Srst "srst" "forget latencies, packets, metrics",
    Srvr "srvr" "the server in nine lines",
    Stat "stat" "the same, with its connections",
    Stmk "stmk" "set the trace mask",
    Wchc "wchc" "watched paths by session",
    Wchp "wchp" "sessions by watched path",
    Wchs "wchs" "how many watches",
}

impl Word {
    /// Bytes that follow the word and belong to it.
    pub const fn operand_bytes(self) -> usize {
        if matches!(self, Self::Stmk) { 8 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_lengths() {
        let cases = [
            (*b"ruok", FirstBytes::Word(Word::Ruok)),
            (*b"stmk", FirstBytes::Word(Word::Stmk)),
            (*b"wchp", FirstBytes::Word(Word::Wchp)),
            ([0xff, 0xf4, 0xff, 0xfd], FirstBytes::TelnetClose),
            ([0, 0, 0, 45], FirstBytes::Length(45)),
            (*b"xxxx", FirstBytes::Length(0x7878_7878)),
            (*b"RUOK", FirstBytes::Length(0x5255_4f4b)),
            ([0xff; 4], FirstBytes::Length(-1)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(FirstBytes::of(bytes), expected, "{bytes:?}");
        }
        for word in Word::ALL {
            let bytes = word.name().as_bytes().try_into().expect("four letters");
            assert_eq!(FirstBytes::of(bytes), FirstBytes::Word(*word));
        }
    }

    #[test]
    fn only_stmk_has_an_operand() {
        for word in Word::ALL {
            assert_eq!(word.operand_bytes() == 8, *word == Word::Stmk, "{word:?}");
        }
    }
}
