//! As much of the PostgreSQL protocol as the relay must understand: where messages end, which
//! requests are answered by "ready for query", and the opening of a connection.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::io;

/// Asks for protocol 3.0.
const PROTOCOL: u32 = 196_608;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// The longest message that is taken from a client, bytes.
const LONGEST_MESSAGE: usize = 128 << 20;

/// The longest opening message, bytes; the server's own limit.
const LONGEST_OPENING: usize = 10_000;

/// What a client opens its connection with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// An ordinary session.
    Session,
    /// Encryption, which is refused with `N`; the client asks again.
    Encryption,
    /// The cancellation of another session's statement, which the engine cannot do.
    Cancellation,
}

/// Reads the opening message at the start of the buffer: what it is and how long. `None` where
/// it is not complete yet.
pub(super) fn opening(buffer: &[u8]) -> io::Result<Option<(Opening, usize)>> {
    let (Some(length), Some(code)) = (number(buffer, 0), number(buffer, 4)) else {
        return Ok(None);
    };
    let length = length as usize;
    if !(8..=LONGEST_OPENING).contains(&length) {
        return Err(malformed("an opening message of an impossible length"));
    }
    let opening = match code {
        PROTOCOL => Opening::Session,
        SSL_REQUEST | GSS_REQUEST => Opening::Encryption,
        CANCEL_REQUEST => Opening::Cancellation,
        _ => return Err(malformed("a protocol that is not spoken here")),
    };
    Ok((buffer.len() >= length).then_some((opening, length)))
}

/// The opening message of the relay's own session: the same settings that every client has, so
/// that resetting the session puts them back.
pub(super) fn own_opening() -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for (name, value) in [
        ("user", "postgres"),
        ("database", "postgres"),
        ("DateStyle", "ISO, MDY"),
        ("client_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "2"),
        ("application_name", "aida"),
    ] {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&body);
    message
}

/// Ends whatever was begun, answered by one "ready for query".
pub(super) const SYNC: [u8; 5] = [b'S', 0, 0, 0, 4];

/// Closes the session.
pub(super) const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// A simple query, answered by one "ready for query".
pub(super) fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(sql.len() + 5).unwrap_or(u32::MAX);
    let mut message = vec![b'Q'];
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(sql.as_bytes());
    message.push(0);
    message
}

/// The whole messages at the start of a client's buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    /// How many bytes they are, without a goodbye.
    pub(super) length: usize,
    /// How many of them are answered by "ready for query".
    pub(super) answers: usize,
    /// Whether a goodbye follows.
    pub(super) goodbye: bool,
}

/// Finds the whole messages at the start of a client's buffer.
pub(super) fn requests(buffer: &[u8]) -> io::Result<Requests> {
    let mut found = Requests::default();
    while let Some((&tag, length)) = buffer.get(found.length).zip(number(buffer, found.length + 1))
    {
        let length = length as usize;
        if !(4..LONGEST_MESSAGE).contains(&length) {
            return Err(malformed("a message of an impossible length"));
        }
        if tag == b'X' {
            found.goodbye = true;
            break;
        }
        if buffer.len() < found.length + 1 + length {
            break;
        }
        found.length += 1 + length;
        found.answers += usize::from(matches!(tag, b'Q' | b'S' | b'F'));
    }
    Ok(found)
}

/// Follows the engine's messages through pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The tag and length of the message that is being read, as far as they are known.
    head: [u8; 5],
    head_length: usize,
    /// How many bytes of the message are still to come.
    rest: usize,
}

impl Answers {
    /// Takes the next piece, and calls for each message that ended in it with its tag.
    pub(super) fn follow(&mut self, mut piece: &[u8], mut ended: impl FnMut(u8)) -> io::Result<()> {
        while !piece.is_empty() {
            if self.head_length < self.head.len() {
                self.head[self.head_length] = piece[0];
                self.head_length += 1;
                piece = &piece[1..];
                if self.head_length < self.head.len() {
                    continue;
                }
                let length = number(&self.head, 1).unwrap_or(0);
                self.rest = (length as usize)
                    .checked_sub(4)
                    .ok_or_else(|| malformed("an answer of an impossible length"))?;
            } else {
                let taken = self.rest.min(piece.len());
                self.rest -= taken;
                piece = &piece[taken..];
            }
            if self.rest == 0 {
                self.head_length = 0;
                ended(self.head[0]);
            }
        }
        Ok(())
    }
}

fn number(buffer: &[u8], at: usize) -> Option<u32> {
    let bytes = buffer.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_opening_is_read_when_it_is_whole() {
        let message = own_opening();
        for end in 0..message.len() {
            assert_eq!(opening(&message[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(opening(&message).unwrap(), Some((Opening::Session, message.len())));
        let encryption = [0, 0, 0, 8, 4, 210, 22, 47];
        assert_eq!(opening(&encryption).unwrap(), Some((Opening::Encryption, 8)));
        assert!(opening(b"GET / HTTP/1.1").is_err());
    }

    #[test]
    fn a_goodbye_is_not_passed_on() {
        let mut buffer = query("SELECT 1");
        let length = buffer.len();
        buffer.extend_from_slice(&TERMINATE);
        assert_eq!(requests(&buffer).unwrap(), Requests { length, answers: 1, goodbye: true });
    }

    #[test]
    fn a_message_of_an_impossible_length_is_refused() {
        assert!(requests(&[b'Q', 0, 0, 0, 3]).is_err());
        assert!(requests(&[b'Q', 255, 255, 255, 255]).is_err());
        assert!(Answers::default().follow(&[b'Z', 0, 0, 0, 3], |_| {}).is_err());
    }

    proptest! {
        #[test]
        fn messages_are_found_however_the_stream_is_cut(
            bodies in proptest::collection::vec((any::<bool>(), 0_usize..40), 1..8),
            cut in 1_usize..9,
        ) {
            let mut stream = Vec::new();
            let mut tags = Vec::new();
            for (ready, body) in bodies {
                let tag = if ready { b'Z' } else { b'D' };
                tags.push(tag);
                stream.push(tag);
                stream.extend_from_slice(&u32::try_from(body + 4).unwrap().to_be_bytes());
                stream.resize(stream.len() + body, b'Z');
            }
            let mut answers = Answers::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                answers.follow(piece, |tag| found.push(tag)).unwrap();
            }
            prop_assert_eq!(found, tags);
        }
    }
}
