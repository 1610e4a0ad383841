//! Images that an evaluation cannot take, named once each.

use crate::error::invalid_input;
use anyhow::Result;

/// Bad images named in an error; the others are counted.
const NAMED: usize = 10;

/// Images that cannot be read or paired, and those that are left out with them.
#[derive(Debug, Default)]
pub struct BadImages {
    texts: Vec<String>,
    /// Images that are whole and left out all the same.
    consequences: Vec<String>,
}

impl BadImages {
    /// Notes a bad image once: one that cannot be read is met for its pair and for its features.
    pub fn add(&mut self, text: String) {
        if !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    /// Notes an image that is left out because of a bad one.
    pub fn add_consequence(&mut self, text: String) {
        self.consequences.push(text);
    }

    /// What was read; notes the image when it could not be.
    pub fn keep_good<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.add(format!("{error:#}"))).ok()
    }

    /// Number of bad images.
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    /// How many there are, and the first of them by name.
    pub fn summary(&self) -> String {
        let more = self.texts.len().saturating_sub(NAMED);
        let rest = match more {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let named = self.texts[..self.texts.len() - more].join("; ");
        format!("{} bad files: {named}{rest}", self.texts.len())
    }

    /// Refuses bad images.
    ///
    /// # Errors
    /// Invalid input: how many there are, and the first of them by name.
    pub fn refuse(&self) -> Result<()> {
        if self.texts.is_empty() {
            return Ok(());
        }
        let summary = self.summary();
        Err(invalid_input(format!(
            "{summary} (--skip-bad leaves them out and lists them)"
        )))
    }

    /// All of them, and what is left out with them.
    pub fn into_texts(self) -> Vec<String> {
        let Self {
            mut texts,
            consequences,
        } = self;
        texts.extend(consequences);
        texts
    }
}
