//! Text to tokens and back.

use std::{collections::BTreeSet, ops::Range};

use openledger_core::{Error, Result};
use serde_json::Value;
use tokenizers::{
    AddedToken, TokenizerBuilder,
    models::bpe::{BPE, BpeTrainerBuilder},
    pre_tokenizers::byte_level::ByteLevel,
    processors::template::TemplateProcessing,
};

/// What begins and ends a text for tokenizers learned here.
const BOS: &str = "<s>";
const EOS: &str = "</s>";

/// Bytes a token that most texts have, or fewer.
const BYTES: usize = 4;
/// Tokens by which a text that surely has too many has more: words that had to be cut.
const MARGIN: usize = 128;
/// Tokens that a piece of a text may have more than it has there.
const SEAM: usize = 2;

/// A tokenizer in Hugging Face's `tokenizer.json` format.
#[derive(Clone, Debug)]
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if they are not one.
    pub fn parse(json: &[u8]) -> Result<Self> {
        tokenizers::Tokenizer::from_bytes(json)
            .map(Self)
            .map_err(|e| Error::corrupt("not a tokenizer").with_source(e))
    }

    /// Learns a byte-level BPE of at most `vocabulary` tokens from `texts`: 256 bytes, `<s>`, which
    /// begins a text, `</s>`, which ends one, and the most frequent pairs.
    ///
    /// Any text can be spelled with it. The same texts give the same tokenizer.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `vocabulary` is below 258.
    pub fn train(texts: &[String], vocabulary: usize) -> Result<Self> {
        let special = [BOS, EOS].map(|token| AddedToken::from(token, true)).to_vec();
        if vocabulary < 256 + special.len() {
            return Err(Error::invalid(format!(
                "a vocabulary of {vocabulary}, bytes alone take 258"
            )));
        }
        let failed =
            |e: tokenizers::Error| Error::invalid("cannot learn a tokenizer").with_source(e);
        let bytes = ByteLevel::new(false, true, true);
        let mut tokenizer = TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_normalizer(None::<tokenizers::NormalizerWrapper>)
            .with_pre_tokenizer(Some(bytes))
            .with_decoder(Some(bytes))
            .with_post_processor(None::<TemplateProcessing>)
            .build()
            .map_err(failed)?;
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(vocabulary)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(special)
            .show_progress(false)
            .build();
        tokenizer.train(&mut trainer, texts.iter()).map_err(failed)?;
        let begin = tokenizer.token_to_id(BOS).unwrap_or_default();
        let template = TemplateProcessing::builder()
            .try_single(format!("{BOS} $A"))
            .map_err(|e| Error::invalid("cannot learn a tokenizer").with_source(e))?
            .special_tokens(vec![(BOS, begin)])
            .build()
            .map_err(|e| Error::invalid("cannot learn a tokenizer").with_source(e.to_string()))?;
        tokenizer.with_post_processor(Some(template));
        let json = tokenizer.to_string(false).map_err(failed)?;
        Self::parse(json.as_bytes())
    }

    /// Writes the `tokenizer.json` that [`parse`](Self::parse) reads.
    ///
    /// # Panics
    /// Never: a tokenizer is always JSON.
    pub fn to_json(&self) -> Vec<u8> {
        self.0.to_string(false).expect("a tokenizer is always JSON").into_bytes()
    }

    /// Returns the token spelled `text`, such as `</s>`.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.0.token_to_id(text)
    }

    /// Splits `text` into tokens, with the tokens that begin a text (such as `<s>`) if `begins`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the vocabulary cannot spell it.
    pub fn encode(&self, text: &str, begins: bool) -> Result<Vec<u32>> {
        let encoding = self
            .0
            .encode_fast(text, begins)
            .map_err(|e| Error::invalid("the tokenizer cannot spell the text").with_source(e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether `text` is so long that it surely has more than `most` tokens; where it does not say so, only
    /// [`encode`](Self::encode) tells.
    ///
    /// Encoding takes hundreds of times the memory of a text: ask this first of one that may be megabytes.
    /// It encodes a piece at a time until it is sure, and none of what has at most four bytes for each of so
    /// many tokens. Pieces are cut between words, where tokenizers cut, and an eighth more than `most` and some
    /// is asked of them.
    ///
    /// # Examples
    /// ```
    /// use openledger_model::testing;
    ///
    /// let model = testing::tiny(1)?;
    /// assert!(!model.tokenizer().surely_exceeds("a short text", 512));
    /// assert!(model.tokenizer().surely_exceeds(&"a long text ".repeat(100_000), 512));
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn surely_exceeds(&self, text: &str, most: usize) -> bool {
        let size = most.saturating_mul(BYTES).max(BYTES);
        if text.len() <= size {
            return false;
        }
        let sure = most.saturating_add(most / 8).saturating_add(MARGIN);
        let (mut rest, mut count) = (text, 0);
        while count <= sure && !rest.is_empty() {
            let end = rest.floor_char_boundary(size);
            let word =
                rest[..end].rfind(char::is_whitespace).filter(|&at| at > 0 && end < rest.len());
            let (piece, after) = rest.split_at(word.unwrap_or(end));
            // What cannot be encoded by itself is not counted; a seam may cost a token on either side.
            let tokens = self.encode(piece, false).map_or(0, |tokens| tokens.len());
            count += tokens.saturating_sub(SEAM);
            rest = after;
        }
        count > sure
    }

    /// Splits `text` into tokens, adding none, and says which bytes of `text` each comes from.
    ///
    /// Tokens of one character share its bytes; a token of nothing in the text has an empty range.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_places(&self, text: &str) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let encoding = self
            .0
            .encode(text, false)
            .map_err(|e| Error::invalid("the tokenizer cannot spell the text").with_source(e))?;
        let places = encoding.get_offsets().iter().map(|&(from, to)| from..to);
        Ok((encoding.get_ids().to_vec(), places.collect()))
    }

    /// Returns this for text from elsewhere: nothing in it becomes one of the tokens that were added to
    /// the vocabulary, such as `</s>` or `<|im_start|>`, however it is spelled.
    ///
    /// [`encode`](Self::encode) reads a text that spells such a token as the token, beginnings or not,
    /// which lets a document end the user's turn. The result splits it into ordinary tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the tokenizer does not work without them.
    ///
    /// # Examples
    /// ```
    /// use openledger_model::testing;
    ///
    /// let model = testing::tiny(1)?;
    /// let ends = model.tokenizer().token("</s>").unwrap();
    /// assert_eq!(model.tokenizer().encode("</s>", false)?, [ends]);
    /// assert_eq!(model.tokenizer().for_data()?.encode("</s>")?.len(), 4);
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn for_data(&self) -> Result<DataTokenizer> {
        let needs = || Error::invalid("the tokenizer needs its added tokens");
        let mut json: Value =
            serde_json::from_slice(&self.to_json()).map_err(|e| needs().with_source(e))?;
        // What stands for anything the vocabulary lacks says nothing.
        let unknown = json["model"]["unk_token"].as_str().and_then(|text| self.token(text));
        let unknown = unknown.map(u64::from).or_else(|| json["model"]["unk_id"].as_u64());
        json["added_tokens"] = Value::Array(Vec::new());
        let plain = Self::parse(json.to_string().as_bytes()).map_err(|e| needs().with_source(e))?;
        let added = self.0.get_added_tokens_decoder().into_iter();
        let special = added.filter(|(id, token)| token.special && unknown != Some((*id).into()));
        Ok(DataTokenizer { plain, special: special.map(|(id, _)| id).collect() })
    }

    /// Joins tokens to text, leaving out special ones. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the decoder cannot join them.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        let decoded = self.0.decode(tokens, true);
        decoded.map_err(|e| Error::invalid("the tokenizer cannot join the tokens").with_source(e))
    }

    /// Joins tokens to text, special ones spelled out.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn spell(&self, tokens: &[u32]) -> Result<String> {
        let decoded = self.0.decode(tokens, false);
        decoded.map_err(|e| Error::invalid("the tokenizer cannot join the tokens").with_source(e))
    }

    /// Whether [`decode`](Self::decode) makes anything of a token: not of special ones, nor of those that
    /// only the model knows.
    fn decodes(&self, token: u32) -> bool {
        let spelled = self.0.id_to_token(token);
        spelled.is_some_and(|text| !self.0.get_added_vocabulary().is_special_token(&text))
    }

    /// Returns one more than the largest token.
    pub fn vocabulary(&self) -> usize {
        self.0.get_vocab(true).into_values().max().map_or(0, |largest| largest as usize + 1)
    }

    /// Starts turning tokens into text one by one.
    pub const fn stream(&self) -> TextStream {
        TextStream { tokens: Vec::new(), shown: 0, window: 0 }
    }
}

/// A [`Tokenizer`] for text from elsewhere, which cannot say what only the application may:
/// [`Tokenizer::for_data`].
#[derive(Clone, Debug)]
pub struct DataTokenizer {
    plain: Tokenizer,
    special: BTreeSet<u32>,
}

impl DataTokenizer {
    /// Splits `text` into ordinary tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the vocabulary cannot spell it
    /// without special tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let tokens = self.plain.encode(text, false)?;
        if self.is_plain(&tokens) {
            return Ok(tokens);
        }
        // A vocabulary may hold them as words of its own, too: letter by letter it cannot find them.
        let mut letters = Vec::new();
        let mut buffer = [0; 4];
        for letter in text.chars() {
            letters.extend(self.plain.encode(letter.encode_utf8(&mut buffer), false)?);
        }
        if !self.is_plain(&letters) {
            let start: String = text.chars().take(40).collect();
            return Err(Error::invalid(format!("`{start}` cannot be spelled in ordinary tokens")));
        }
        Ok(letters)
    }

    fn is_plain(&self, tokens: &[u32]) -> bool {
        tokens.iter().all(|token| !self.special.contains(token))
    }
}

/// Turns tokens into text as they come, never half a character.
///
/// A token can be a part of a character, and its text can depend on the token before it. So a few
/// recent tokens are decoded together each time, and what they add is held back while it ends in
/// an unfinished character; what goes on being unfinished is no text, and is told as U+FFFD.
#[derive(Clone, Debug)]
pub struct TextStream {
    tokens: Vec<u32>,
    /// Tokens whose text has been returned.
    shown: usize,
    /// Where decoding starts: far enough back that the text of new tokens no longer changes.
    window: usize,
}

/// Tokens that a character can take, which has at most four bytes.
const CHARACTER: usize = 4;
/// Tokens that are held back at most, so that each costs the same however many come.
const HELD: usize = 32;

impl TextStream {
    /// Takes the next token; returns the text that is certain now, which may be empty.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<String> {
        if !tokenizer.decodes(token) {
            return Ok(String::new());
        }
        self.tokens.push(token);
        let before = tokenizer.decode(&self.tokens[self.window..self.shown])?;
        let mut now = tokenizer.decode(&self.tokens[self.window..])?;
        let mut end = self.tokens.len();
        if now.len() <= before.len() || now.ends_with(char::REPLACEMENT_CHARACTER) {
            let Some(settled) = self.settled(tokenizer, &now)? else { return Ok(String::new()) };
            now = tokenizer.decode(&self.tokens[self.window..settled])?;
            end = settled;
        }
        self.window = self.shown;
        self.shown = end;
        Ok(now.get(before.len()..).unwrap_or_default().to_owned())
    }

    /// Finds where what can still change begins, if more is held back than one character takes.
    fn settled(&self, tokenizer: &Tokenizer, now: &str) -> Result<Option<usize>> {
        let (end, held) = (self.tokens.len(), self.tokens.len() - self.shown);
        if held <= CHARACTER {
            return Ok(None);
        }
        let begins = end + 1 - CHARACTER;
        for place in (begins..end).rev() {
            // Between two characters, or between what are none.
            let before = tokenizer.decode(&self.tokens[self.window..place])?;
            if before + &tokenizer.decode(&self.tokens[place..])? == now {
                return Ok(Some(place));
            }
        }
        Ok((held >= HELD).then_some(begins))
    }

    /// Returns the text held back, with U+FFFD for a character that was never finished.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self, tokenizer: &Tokenizer) -> Result<String> {
        let before = tokenizer.decode(&self.tokens[self.window..self.shown])?;
        let now = tokenizer.decode(&self.tokens[self.window..])?;
        Ok(now.get(before.len()..).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is held back, a token costs what a few cost.
    #[test]
    fn a_stream_holds_few_tokens_back_whatever_comes() {
        let tokenizer = Tokenizer::train(&[], 258).unwrap();
        // The byte 0x80 as byte-level vocabularies spell it, and one that begins a character.
        let [inside, begins] = ["\u{122}", "\u{f0}"].map(|byte| tokenizer.token(byte).unwrap());
        let [special, letter] = ["</s>", "a"].map(|text| tokenizer.token(text).unwrap());
        for cycle in
            [vec![inside], vec![begins], vec![special], vec![100_000], vec![begins, inside]]
        {
            let tokens = [vec![letter], cycle.repeat(10_000 / cycle.len())].concat();
            let (mut stream, mut text) = (tokenizer.stream(), String::new());
            for &token in &tokens {
                text.push_str(&stream.push(&tokenizer, token).unwrap());
                assert!(stream.tokens.len() - stream.window <= 2 * HELD, "{cycle:?}");
            }
            text.push_str(&stream.finish(&tokenizer).unwrap());
            assert_eq!(text, tokenizer.decode(&tokens).unwrap());
        }
    }
}
