//! The attribution graph: Datanets, contributions, models, batches of receipts, grants, agents.

use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Address, Amount, B256, DatanetId, DatanetVersion, Result, U256};

use super::{
    map::Map,
    nouns::{
        Agent, Batch, Contributed, Counts, Datanet, GrantTerms, Granted, Model, Node, Request,
        Standing, Version,
    },
    numbered,
    wrong::{count, known, wrong},
};
use crate::{
    ContributionStatus, ModelOffer,
    abi::{
        access_grants::AccessGrants::AccessGrantsEvents as Grants,
        agent_registry::AgentRegistry::AgentRegistryEvents as Agents,
        attribution_log::AttributionLog::AttributionLogEvents as Log,
        contribution_registry::ContributionRegistry::ContributionRegistryEvents as Contributions,
        datanet_registry::DatanetRegistry::DatanetRegistryEvents as Datanets,
        model_registry::ModelRegistry::ModelRegistryEvents as Models,
    },
};

/// Everything that is attributed to somebody.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Graph {
    pub(super) datanets: Map<DatanetId, Datanet>,
    pub(super) versions: Map<(DatanetId, u64), Version>,
    pub(super) approved: Map<(DatanetId, Address), bool>,
    pub(super) contributions: Map<(DatanetId, Address, B256), Contributed>,
    pub(super) contributors: Map<Address, Counts>,
    pub(super) fared: Map<DatanetId, Counts>,
    pub(super) models: Map<(B256, Address), Model>,
    pub(super) trained: Map<(DatanetId, B256, Address), u64>,
    pub(super) batches: Map<(Address, B256), Batch>,
    pub(super) nodes: Map<Address, Node>,
    pub(super) used: Map<B256, u64>,
    pub(super) grants: Map<B256, Granted>,
    pub(super) requests: Map<(DatanetId, Address, B256), Request>,
    pub(super) agents: Map<B256, Agent>,
}

impl Graph {
    pub(super) fn datanet(&mut self, event: &Datanets) -> Result<()> {
        match event {
            Datanets::DatanetCreated(e) => {
                let kind = numbered::kind::of(e.kind);
                let datanet = Datanet {
                    owner: e.owner,
                    offered_to: None,
                    name: e.name.clone(),
                    metadata: e.metadata,
                    kind: known(kind, "kind of Datanet", e.kind)?,
                    is_private: e.isPrivate,
                    closed: false,
                    versions: 0,
                };
                let id = e.datanet.into();
                if self.datanets.has(&id) {
                    return Err(wrong(format!("Datanet {id} created twice")));
                }
                self.datanets.put(id, datanet);
            }
            Datanets::MetadataChanged(e) => self.the_datanet(e.datanet)?.metadata = e.metadata,
            Datanets::PrivacyChanged(e) => self.the_datanet(e.datanet)?.is_private = e.isPrivate,
            Datanets::ContributorApproval(e) => {
                self.approved.put((e.datanet.into(), e.contributor), e.approved);
            }
            Datanets::OwnershipOffered(e) => {
                let to = (!e.to.is_zero()).then_some(e.to);
                self.the_datanet(e.datanet)?.offered_to = to;
            }
            Datanets::OwnershipTransferred(e) => {
                let datanet = self.the_datanet(e.datanet)?;
                (datanet.owner, datanet.offered_to) = (e.to, None);
            }
            Datanets::VersionPublished(e) => {
                let datanet = self.the_datanet(e.datanet)?;
                if datanet.versions.checked_add(1) != Some(e.version) {
                    let (last, next) = (datanet.versions, e.version);
                    return Err(wrong(format!("version {next} after version {last}")));
                }
                datanet.versions = e.version;
                let version = Version { root: e.root, rows: e.rows };
                self.versions.put((e.datanet.into(), e.version), version);
            }
            Datanets::DatanetClosed(e) => self.the_datanet(e.datanet)?.closed = true,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn contribution(&mut self, event: &Contributions, block: u64) -> Result<()> {
        use ContributionStatus::{Accepted, Pending, Rejected, Revoked};
        let new = Contributed {
            status: Pending,
            rows: None,
            da: None,
            signed: None,
            revoked_by: None,
            block,
        };
        match event {
            Contributions::Submitted(e) => {
                let new = Contributed { rows: Some(1), da: Some(e.da), ..new };
                self.add((e.datanet.into(), e.contributor, e.root), new)
            }
            Contributions::SubmittedBatch(e) => {
                let new = Contributed { rows: Some(e.rows), da: Some(e.da), ..new };
                self.add((e.datanet.into(), e.contributor, e.root), new)
            }
            Contributions::Contributed(e) => {
                let signed = Some(e.contribution.into());
                let new = Contributed { status: Accepted, rows: Some(e.rows), signed, ..new };
                self.add((e.datanet.into(), e.contributor, e.root), new)
            }
            Contributions::Accepted(e) => {
                self.decide((e.datanet.into(), e.contributor, e.root), Accepted)
            }
            Contributions::Rejected(e) => {
                self.decide((e.datanet.into(), e.contributor, e.root), Rejected)
            }
            Contributions::Revoked(e) => {
                let key = (e.datanet.into(), e.contributor, e.root);
                let before = self.contributions.at(&key).copied();
                if before.is_some_and(|before| before.status == Revoked) {
                    return Err(wrong(format!("contribution {} revoked twice", e.root)));
                }
                // Consent can be withdrawn before the contribution comes, so that it never does.
                let revoked_by = Some(e.by);
                let now = Contributed { status: Revoked, revoked_by, ..before.unwrap_or(new) };
                self.contributions.put(key, now);
                self.count(key, before.map(|before| before.status), Revoked)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn model(&mut self, event: &Models, block: u64) -> Result<()> {
        match event {
            Models::ModelRegistered(e) => {
                let datanets = e.datanets.iter().map(|version| DatanetVersion {
                    datanet: version.datanet.into(),
                    version: version.version,
                    root: version.root,
                });
                let model = Model {
                    parent: e.parent,
                    record: e.record,
                    datanets: datanets.collect(),
                    price_in: Amount::ZERO,
                    price_out: Amount::ZERO,
                    offer: ModelOffer::Active,
                    successor: None,
                    block,
                };
                let key = (e.model, e.owner);
                if self.models.has(&key) {
                    return Err(wrong(format!("model {} registered twice", e.model)));
                }
                for version in &model.datanets {
                    let edge = (version.datanet, e.model, e.owner);
                    self.trained.change(edge, |latest| *latest = version.version.max(*latest));
                }
                self.models.put(key, model);
            }
            Models::PriceChanged(e) => {
                let model = self.the_model(e.model, e.owner)?;
                model.price_in = Amount::new(U256::from(e.priceIn));
                model.price_out = Amount::new(U256::from(e.priceOut));
            }
            Models::ModelDeprecated(e) => {
                let model = self.the_model(e.model, e.owner)?;
                model.offer = ModelOffer::Deprecated;
                model.successor = (!e.successor.is_zero()).then_some(e.successor);
            }
            Models::ModelRevoked(e) => {
                self.the_model(e.model, e.owner)?.offer = ModelOffer::Revoked;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn log(&mut self, event: &Log, block: u64) -> Result<()> {
        match event {
            Log::NodeAdmitted(e) => self.nodes.change(e.node, |node| {
                (node.admitted, node.window) = (true, e.window.to());
            }),
            Log::NodeSynced(e) => self.nodes.change(e.node, |node| node.window = e.window.to()),
            Log::NodeExpelled(e) => {
                let node = known(self.nodes.at_mut(&e.node), "node", e.node)?;
                (node.admitted, node.window) = (false, 0);
            }
            Log::BatchLogged(e) => {
                let batch = Batch {
                    epoch: e.epoch,
                    model: e.model,
                    body: e.body,
                    receipts: e.receipts.to(),
                    open_challenges: 0,
                    rejected: false,
                    block,
                };
                let key = (e.node, e.root);
                if self.batches.has(&key) {
                    return Err(wrong(format!("batch {} logged twice", e.root)));
                }
                self.batches.put(key, batch);
                let node = known(self.nodes.at_mut(&e.node), "node", e.node)?;
                count(&mut node.batches, "the batches of a node")?;
                let receipts = node.receipts.checked_add(batch.receipts);
                node.receipts = known(receipts, "count of so many receipts of", e.node)?;
                let used = self.used.at(&e.model).copied().unwrap_or_default();
                let used = used.checked_add(batch.receipts);
                self.used.put(e.model, known(used, "count of so many receipts of", e.model)?);
            }
            Log::BatchHeld(e) => {
                self.the_batch(e.node, e.root)?.open_challenges = e.openChallenges.into();
            }
            Log::BatchReleased(e) => {
                self.the_batch(e.node, e.root)?.open_challenges = e.openChallenges.into();
            }
            Log::BatchRejected(e) => {
                let batch = self.the_batch(e.node, e.root)?;
                batch.open_challenges = e.openChallenges.into();
                // Two challenges of a batch can both succeed; its receipts are lost once.
                if !std::mem::replace(&mut batch.rejected, true) {
                    let Batch { model, receipts, .. } = *batch;
                    let node = known(self.nodes.at_mut(&e.node), "node", e.node)?;
                    let rest = node.receipts.checked_sub(receipts);
                    node.receipts = known(rest, "such receipts of", e.node)?;
                    node.batches = known(node.batches.checked_sub(1), "batch of", e.node)?;
                    count(&mut node.rejected, "the rejected batches of a node")?;
                    let used = known(self.used.at_mut(&model), "receipt of", model)?;
                    *used = known(used.checked_sub(receipts), "such receipts of", model)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn grant(&mut self, event: &Grants) -> Result<()> {
        match event {
            Grants::AccessRequested(e) => {
                let key = (e.datanet.into(), e.grantee, e.purpose);
                if self.requests.has(&key) {
                    return Err(wrong(format!("access for {} requested twice", e.purpose)));
                }
                self.requests.put(key, Request::Open);
            }
            Grants::AccessDenied(e) => {
                let key = (e.datanet.into(), e.grantee, e.purpose);
                match known(self.requests.at_mut(&key), "request of", e.grantee)? {
                    request @ Request::Open => *request = Request::Denied,
                    other => return Err(wrong(format!("a request denied that is {other:?}"))),
                }
            }
            Grants::AccessGranted(e) => {
                if self.grants.has(&e.grant) {
                    return Err(wrong(format!("grant {} came twice", e.grant)));
                }
                let (datanet, grantee) = (e.datanet.into(), e.grantee);
                let terms = Some(GrantTerms {
                    version: e.version,
                    scope: e.scope,
                    purpose: e.purpose,
                    not_before: e.notBefore,
                    not_after: e.notAfter,
                });
                self.grants.put(e.grant, Granted { datanet, grantee, terms, revoked: false });
                let request = self.requests.at_mut(&(datanet, grantee, e.purpose));
                if let Some(request @ Request::Open) = request {
                    *request = Request::Granted;
                }
            }
            Grants::AccessRevoked(e) => {
                let (datanet, grantee) = (e.datanet.into(), e.grantee);
                let new = Granted { datanet, grantee, terms: None, revoked: false };
                let before = self.grants.at(&e.grant).copied().unwrap_or(new);
                if before.revoked {
                    return Err(wrong(format!("grant {} revoked twice", e.grant)));
                }
                self.grants.put(e.grant, Granted { revoked: true, ..before });
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn agent(&mut self, event: &Agents) -> Result<()> {
        match event {
            Agents::AgentRegistered(e) => {
                if self.agents.has(&e.agent) {
                    return Err(wrong(format!("agent {} registered twice", e.agent)));
                }
                let agent = Agent {
                    owner: e.owner,
                    name: e.name.clone(),
                    card: e.card,
                    wallet: None,
                    identity: None,
                    standing: Standing::Active,
                };
                self.agents.put(e.agent, agent);
            }
            Agents::CardChanged(e) => self.the_agent(e.agent)?.card = e.card,
            Agents::WalletChanged(e) => {
                let wallet = (!e.wallet.is_zero()).then_some(e.wallet);
                self.the_agent(e.agent)?.wallet = wallet;
            }
            Agents::IdentityLinked(e) => {
                self.the_agent(e.agent)?.identity = Some((e.registry, e.token));
            }
            Agents::IdentityUnlinked(e) => self.the_agent(e.agent)?.identity = None,
            Agents::AgentRetired(e) => self.the_agent(e.agent)?.standing = Standing::Retired,
            Agents::AgentRevoked(e) => self.the_agent(e.agent)?.standing = Standing::Revoked,
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, key: (DatanetId, Address, B256), new: Contributed) -> Result<()> {
        if self.contributions.has(&key) {
            return Err(wrong(format!("contribution {} came twice", key.2)));
        }
        self.contributions.put(key, new);
        self.count(key, None, new.status)
    }

    fn decide(&mut self, key: (DatanetId, Address, B256), to: ContributionStatus) -> Result<()> {
        let contribution = known(self.contributions.at_mut(&key), "contribution", key.2)?;
        if contribution.status != ContributionStatus::Pending {
            let status = contribution.status;
            return Err(wrong(format!("a contribution decided that is {status:?}")));
        }
        contribution.status = to;
        self.count(key, Some(ContributionStatus::Pending), to)
    }

    /// Moves a contribution from one count to another, of its contributor and of its Datanet.
    fn count(
        &mut self,
        (datanet, who, _): (DatanetId, Address, B256),
        from: Option<ContributionStatus>,
        to: ContributionStatus,
    ) -> Result<()> {
        let mut of_who = self.contributors.at(&who).copied().unwrap_or_default();
        let mut of_datanet = self.fared.at(&datanet).copied().unwrap_or_default();
        for counts in [&mut of_who, &mut of_datanet] {
            if let Some(left) = from.and_then(|from| counts.of(from)) {
                *left = known(left.checked_sub(1), "such contribution of", who)?;
            }
            if let Some(joined) = counts.of(to) {
                count(joined, "the contributions")?;
            }
        }
        self.contributors.put(who, of_who);
        self.fared.put(datanet, of_datanet);
        Ok(())
    }

    fn the_datanet(&mut self, id: B256) -> Result<&mut Datanet> {
        known(self.datanets.at_mut(&id.into()), "Datanet", id)
    }

    fn the_model(&mut self, model: B256, owner: Address) -> Result<&mut Model> {
        known(self.models.at_mut(&(model, owner)), "model", model)
    }

    fn the_batch(&mut self, node: Address, root: B256) -> Result<&mut Batch> {
        known(self.batches.at_mut(&(node, root)), "batch", root)
    }

    fn the_agent(&mut self, id: B256) -> Result<&mut Agent> {
        known(self.agents.at_mut(&id), "agent", id)
    }
}

impl Counts {
    fn of(&mut self, status: ContributionStatus) -> Option<&mut u64> {
        match status {
            ContributionStatus::None => None,
            ContributionStatus::Pending => Some(&mut self.pending),
            ContributionStatus::Accepted => Some(&mut self.accepted),
            ContributionStatus::Rejected => Some(&mut self.rejected),
            ContributionStatus::Revoked => Some(&mut self.revoked),
        }
    }
}
