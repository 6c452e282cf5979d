//! Published states of a Datanet.

use std::{collections::HashMap, sync::Arc};

use openledger_core::{
    Address, B256, ContributionId, DatanetVersion, Error, ErrorKind, Result, Row, RowId,
    merkle::{Leaf, StandardTree},
};

use crate::submission::leaf;

/// A row that was taken in, with whom it is from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The row's public name.
    pub id: RowId,
    /// The text.
    pub row: Row,
    /// Who contributed it.
    pub contributor: Address,
    /// The contribution it came with.
    pub contribution: ContributionId,
}

/// The rows of a Datanet at one moment, under one Merkle root. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Version {
    pin: DatanetVersion,
    records: Arc<[Record]>,
    tree: Arc<StandardTree<(B256, Address)>>,
    places: Arc<HashMap<RowId, usize>>,
}

impl Version {
    pub(crate) fn new(pin: DatanetVersion, records: Arc<[Record]>) -> Result<Self> {
        let leaves = records.iter().map(|record| leaf(record.id, record.contributor)).collect();
        let tree = StandardTree::new(leaves)?;
        if tree.root() != pin.root {
            return Err(Error::corrupt(format!(
                "version {} of Datanet {} has another root than its rows",
                pin.version, pin.datanet
            )));
        }
        let places = records.iter().enumerate().map(|(place, record)| (record.id, place)).collect();
        Ok(Self { pin, records, tree: Arc::new(tree), places: Arc::new(places) })
    }

    /// Returns the root over `records`.
    pub(crate) fn root_of(records: &[Record]) -> Result<B256> {
        let leaves = records.iter().map(|record| leaf(record.id, record.contributor)).collect();
        Ok(StandardTree::new(leaves)?.root())
    }

    /// Returns what training, receipts and the chain name this version by.
    pub const fn pin(&self) -> DatanetVersion {
        self.pin
    }

    /// Returns the rows, in the order they were taken in.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Finds a row by its public name.
    pub fn record(&self, id: RowId) -> Option<&Record> {
        self.places.get(&id).map(|&place| &self.records[place])
    }

    /// Returns the proof that a row of its contributor is in this version, for
    /// [`merkle::verify`](openledger_core::merkle::verify) and for contracts, with the leaf it is for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it is not.
    pub fn proof(&self, id: RowId) -> Result<(B256, Vec<B256>)> {
        let place = *self.places.get(&id).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no row {id} in version {}", self.pin.version))
        })?;
        let record = &self.records[place];
        Ok((leaf(record.id, record.contributor).hash(), self.tree.proof(place)))
    }
}
