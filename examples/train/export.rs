//! The trained model as other programs read it, checked before it is believed.

use std::path::Path;

use openledger_core::{ErrorKind, Result, file};
use openledger_model::{Chat, ChatTemplate, Lora, Model, ModelFiles, Tokens, gguf::write_adapter};
use openledger_train::{
    ExportCheck, Precision, Rows, check_export, check_gguf, check_gguf_adapter, merge, merge_gguf,
};

use crate::Options;

/// What was trained.
pub(crate) struct Trained<'a> {
    pub(crate) base: &'a ModelFiles,
    pub(crate) model: &'a Model,
    pub(crate) lora: &'a Lora,
    /// Rows whose prompts are asked of base and adapter and of what was written.
    pub(crate) rows: &'a dyn Rows,
}

impl Trained<'_> {
    /// Writes all that was asked for.
    pub(crate) fn export(&self, options: &Options) -> Result<()> {
        if let Some(dtype) = options.merge {
            self.merged(dtype.into(), &options.out.join("merged"))?;
        }
        if let Some(path) = &options.gguf {
            self.gguf(options, path)?;
        }
        match &options.gguf_adapter {
            Some(path) => self.gguf_adapter(path),
            None => Ok(()),
        }
    }

    fn merged(&self, precision: Precision, folder: &Path) -> Result<()> {
        merge(self.base, self.model.network(), self.lora, precision)?.write(folder)?;
        let prompts = self.prompts()?;
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let files = ModelFiles::read(folder)?;
        let check = check_export(&files, precision, self.model.network(), self.lora, &prompts)?;
        say("merged    ", folder, &check);
        Ok(())
    }

    fn gguf(&self, options: &Options, path: &Path) -> Result<()> {
        let ty = options.gguf_type.into();
        let template = match ChatTemplate::open(&options.model) {
            Err(e) if e.kind() == ErrorKind::NotFound => None, // a base model has none
            found => Some(found?),
        };
        let chat = Chat::new([]);
        let template = template.as_ref().map(|template| template.source(&chat)).transpose()?;
        let bytes = merge_gguf(self.base, self.model, self.lora, ty, template)?;
        file::write(path, &bytes)?;
        let prompts = self.prompts()?;
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let check = check_gguf(path, ty, self.model.network(), self.lora, &prompts)?;
        say("gguf      ", path, &check);
        Ok(())
    }

    fn gguf_adapter(&self, path: &Path) -> Result<()> {
        let (network, mut bytes) = (self.model.network(), Vec::new());
        write_adapter(&self.base.config, network, self.lora, &mut bytes)?;
        file::write(path, &bytes)?;
        let prompts = self.prompts()?;
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let written = file::read(path, bytes.len() as u64)?;
        let check = check_gguf_adapter(&written, self.base, network, self.lora, &prompts)?;
        say("gguf       adapter", path, &check);
        Ok(())
    }

    /// What a few rows ask.
    fn prompts(&self) -> Result<Vec<Vec<u32>>> {
        let prompt = |row: Tokens| row.tokens[..row.prompt().max(1)].to_vec();
        (0..self.rows.count().min(4)).map(|row| self.rows.row(row).map(prompt)).collect()
    }
}

fn say(what: &str, path: &Path, check: &ExportCheck) {
    let (path, ExportCheck { max_difference, tolerance, .. }) = (path.display(), check);
    println!("{what} `{path}`, logits within {max_difference:.1e} of {tolerance:.1e} allowed");
}
