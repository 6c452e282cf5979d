//! Access, lineage and identity: what an owner gives and takes back, and what never comes back.

use openledger_chain::{
    Access, Agents, DatanetEntry, EvmChain, GovernancePreset, ModelEntry, ModelOffer, Models,
    Price, Registry, Use,
    abi::{
        access_grants::AccessGrants, agent_registry::AgentRegistry,
        datanet_registry::DatanetRegistry,
    },
    alloy::primitives::Bytes as Code,
};
use openledger_core::{
    Address, Amount, B256, DatanetId, DatanetVersion, ErrorKind, Key, U256,
    message::{Grant, Message, Nonces, Scope, Signed, Verified},
};

use crate::{
    assert_denied,
    town::{DAY, HOUR, Town},
};

const PURPOSE: B256 = B256::repeat_byte(0x9a);

/// A Datanet of the first voter's, and a stranger who wants to train on it.
struct Library {
    town: Town,
    owner: EvmChain,
    key: Key,
    grantee: EvmChain,
    datanet: DatanetId,
}

impl Library {
    async fn new() -> Self {
        let town = Town::new().await;
        let key = town.voters[0].clone();
        let owner = town.by(&key);
        let entry = DatanetEntry::new("law", B256::repeat_byte(1));
        let datanet = owner.create_datanet(&entry).await.unwrap().value;
        let grantee = town.by(&town.stranger);
        Self { town, owner, key, grantee, datanet }
    }

    /// A grant for a day, of version 3 for training.
    async fn grant(&self, nonce: u64) -> Grant {
        let now = self.town.now().await;
        Grant {
            datanet: self.datanet,
            version: 3,
            scope: Scope::Train,
            purpose: PURPOSE,
            grantee: self.grantee.sender(),
            not_before: now,
            not_after: now + DAY,
            owner: self.owner.sender(),
            nonce: U256::from(nonce),
            deadline: now + HOUR,
        }
    }

    async fn sign(&self, grant: Grant) -> Verified<Grant> {
        let domain = self.owner.grant_domain();
        let now = self.town.now().await;
        Signed::sign(grant, domain, &self.key).verify(&domain, now, &mut Nonces::default()).unwrap()
    }

    fn wanted(&self) -> Use {
        let (datanet, who) = (self.datanet, self.grantee.sender());
        Use { datanet, version: 3, scope: Scope::Train, who }
    }

    async fn may(&self, wanted: &Use, time: u64) -> bool {
        self.grantee.may(wanted, time).await.unwrap()
    }

    async fn request(&self) -> u8 {
        let at = self.owner.contracts().grants;
        let grants = AccessGrants::new(at, self.owner.provider());
        let who = self.grantee.sender();
        grants.requestOf(self.datanet.into(), who, PURPOSE).call().await.unwrap()
    }
}

const REQUESTED: u8 = 1;
const GRANTED: u8 = 2;
const DENIED: u8 = 3;

#[tokio::test]
async fn what_was_asked_for_and_signed_by_the_owner_is_allowed_and_nothing_beside_it() {
    let library = Library::new().await;
    let (owner, grantee) = (&library.owner, &library.grantee);
    let wanted = library.wanted();
    let unknown = DatanetId::from(B256::repeat_byte(7));
    assert_denied(grantee.request_access(unknown, PURPOSE).await, "DatanetUnknown");
    grantee.request_access(library.datanet, PURPOSE).await.unwrap();
    let again = grantee.request_access(library.datanet, PURPOSE).await;
    assert_denied(again, "RequestExists");
    assert_eq!(library.request().await, REQUESTED);
    let now = library.town.now().await;
    assert!(!library.may(&wanted, now).await, "asking gives nothing");

    let grant = library.grant(1).await;
    let signed = library.sign(grant).await;
    // Whoever holds the signature can bring it; it is recorded once.
    let id = grant.struct_hash();
    let sent = grantee.grant_access(&signed).await.unwrap();
    let event = sent.tx.event::<AccessGrants::AccessGranted>(owner.contracts().grants).unwrap();
    assert_eq!(event.grant, id, "the contract hashes alike");
    assert_denied(owner.grant_access(&signed).await, "GrantExists");
    assert_eq!(library.request().await, GRANTED);

    let (first, last) = (grant.not_before, grant.not_after);
    for (time, may) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
        assert_eq!(library.may(&wanted, time).await, may, "{time}");
    }
    for other in [
        Use { version: 2, ..wanted },
        Use { version: 0, ..wanted },
        Use { scope: Scope::Read, ..wanted },
        Use { scope: Scope::Compute, ..wanted },
        Use { who: owner.sender(), ..wanted },
        Use { datanet: unknown, ..wanted },
    ] {
        assert!(!library.may(&other, first).await, "{other:?}");
    }
}

#[tokio::test]
async fn a_grant_of_every_version_counts_for_those_to_come() {
    let library = Library::new().await;
    let grant = Grant { version: 0, ..library.grant(1).await };
    library.owner.grant_access(&library.sign(grant).await).await.unwrap();
    for version in [1, 3, u64::MAX] {
        let use_ = Use { version, ..library.wanted() };
        assert!(library.may(&use_, grant.not_before).await, "{version}");
    }
}

fn typed(grant: &Grant) -> AccessGrants::Grant {
    AccessGrants::Grant {
        datanet: grant.datanet.into(),
        version: grant.version,
        scope: grant.scope as u8,
        purpose: grant.purpose,
        grantee: grant.grantee,
        notBefore: grant.not_before,
        notAfter: grant.not_after,
        owner: grant.owner,
        nonce: grant.nonce,
        deadline: grant.deadline,
    }
}

#[tokio::test]
async fn the_owner_grants_without_a_signature_and_nobody_else_does() {
    let library = Library::new().await;
    let grant = library.grant(1).await;
    let at = library.owner.contracts().grants;
    let direct = async |chain: &EvmChain, grant: &Grant| {
        let grants = AccessGrants::new(at, chain.provider());
        chain.send("grant", grants.grant(typed(grant))).await
    };
    assert_denied(direct(&library.grantee, &grant).await, "NotOwner");
    let own = Grant { owner: library.grantee.sender(), ..grant };
    assert_denied(direct(&library.grantee, &own).await, "NotOwner");
    direct(&library.owner, &grant).await.unwrap();
    assert!(library.may(&library.wanted(), grant.not_before).await);
    // By signature or not, it is the same grant.
    let signed = library.sign(grant).await;
    assert_denied(library.grantee.grant_access(&signed).await, "GrantExists");
}

#[tokio::test]
async fn a_grant_that_is_not_the_owners_or_too_late_or_for_no_time_is_refused() {
    let library = Library::new().await;
    let (grantee, good) = (&library.grantee, library.grant(1).await);
    // Signed by the grantee in its own name, and in the owner's.
    let own = Grant { owner: grantee.sender(), ..good };
    let domain = grantee.grant_domain();
    let by_grantee = Signed::sign(own, domain, &library.town.stranger);
    let now = library.town.now().await;
    let by_grantee = by_grantee.verify(&domain, now, &mut Nonces::default()).unwrap();
    assert_denied(grantee.grant_access(&by_grantee).await, "NotOwner");
    let forged = Verified::pretend(good);
    assert_denied(grantee.grant_access(&forged).await, "SignatureInvalid");
    let stretched = {
        let signed = library.sign(good).await;
        let grants = AccessGrants::new(grantee.contracts().grants, grantee.provider());
        let longer = Grant { not_after: good.not_after + DAY, ..good };
        let signature = Code::copy_from_slice(signed.signature().as_bytes());
        grantee.send("grant", grants.grantBySig(typed(&longer), signature)).await
    };
    assert_denied(stretched, "SignatureInvalid");

    let over = Grant { not_before: now - 2 * DAY, not_after: now - DAY, ..good };
    assert_denied(grantee.grant_access(&library.sign(over).await).await, "WindowEmpty");
    let turned = Grant { not_before: good.not_after, not_after: good.not_before, ..good };
    assert_denied(grantee.grant_access(&library.sign(turned).await).await, "WindowEmpty");
    let late = library.sign(good).await;
    library.town.pass(HOUR + 1).await;
    assert_denied(grantee.grant_access(&late).await, "GrantExpired");
    assert!(!library.may(&library.wanted(), good.not_before).await);
}

#[tokio::test]
async fn a_denied_request_stays_denied_and_its_owner_can_still_grant() {
    let library = Library::new().await;
    let (owner, grantee) = (&library.owner, &library.grantee);
    let who = grantee.sender();
    let unasked = owner.deny_access(library.datanet, who, PURPOSE).await;
    assert_denied(unasked, "RequestNotOpen");
    grantee.request_access(library.datanet, PURPOSE).await.unwrap();
    let by_another = grantee.deny_access(library.datanet, who, PURPOSE).await;
    assert_denied(by_another, "NotOwner");
    owner.deny_access(library.datanet, who, PURPOSE).await.unwrap();
    assert_eq!(library.request().await, DENIED);
    let again = grantee.request_access(library.datanet, PURPOSE).await;
    assert_denied(again, "RequestExists");
    let twice = owner.deny_access(library.datanet, who, PURPOSE).await;
    assert_denied(twice, "RequestNotOpen");
    let grant = library.grant(1).await;
    owner.grant_access(&library.sign(grant).await).await.unwrap();
    assert!(library.may(&library.wanted(), grant.not_before).await);
    assert_eq!(library.request().await, DENIED, "what was said of the request stays said");
}

#[tokio::test]
async fn what_was_revoked_never_comes_back_signed_or_not() {
    let library = Library::new().await;
    let (owner, grantee) = (&library.owner, &library.grantee);
    let grant = library.grant(1).await;
    let signed = library.sign(grant).await;
    grantee.grant_access(&signed).await.unwrap();
    assert_denied(grantee.revoke_access(&grant).await, "NotOwner");
    owner.revoke_access(&grant).await.unwrap();
    assert!(!library.may(&library.wanted(), grant.not_before).await, "at no time");
    assert_denied(owner.revoke_access(&grant).await, "GrantIsRevoked");
    assert_denied(grantee.grant_access(&signed).await, "GrantIsRevoked");

    // A signature that is still in somebody's drawer is revoked before it is ever brought.
    let drawer = library.grant(2).await;
    let signed = library.sign(drawer).await;
    assert_denied(grantee.revoke_access(&drawer).await, "NotOwner");
    owner.revoke_access(&drawer).await.unwrap();
    assert_denied(grantee.grant_access(&signed).await, "GrantIsRevoked");
    // Another statement is another grant.
    let fresh = library.grant(3).await;
    grantee.grant_access(&library.sign(fresh).await).await.unwrap();
    assert!(library.may(&library.wanted(), fresh.not_before).await);
}

#[tokio::test]
async fn who_owns_the_datanet_now_revokes_what_the_former_owner_granted() {
    let library = Library::new().await;
    let grant = library.grant(1).await;
    library.owner.grant_access(&library.sign(grant).await).await.unwrap();
    let heir = library.town.by(&library.town.voters[1]);
    let datanets = DatanetRegistry::new(heir.contracts().datanets, heir.provider());
    let offer = datanets.offerOwnership(library.datanet.into(), heir.sender());
    library.owner.send("offer", offer).await.unwrap();
    let accept = datanets.acceptOwnership(library.datanet.into());
    heir.send("accept", accept).await.unwrap();
    assert!(library.may(&library.wanted(), grant.not_before).await, "what was given stands");
    assert_denied(library.owner.revoke_access(&grant).await, "NotOwner");
    heir.revoke_access(&grant).await.unwrap();
    assert!(!library.may(&library.wanted(), grant.not_before).await);
    let by_former = library.grant(2).await;
    let late = heir.grant_access(&library.sign(by_former).await).await;
    assert_denied(late, "NotOwner");
}

#[tokio::test]
async fn a_signature_for_another_chain_or_contract_is_no_grant() {
    let library = Library::new().await;
    let grant = library.grant(1).await;
    let domain = library.owner.grant_domain();
    let grants = AccessGrants::new(domain.contract, library.grantee.provider());
    for elsewhere in [
        openledger_core::message::Domain { chain_id: domain.chain_id + 1, ..domain },
        library.owner.contribution_domain(),
    ] {
        let signed = Signed::sign(grant, elsewhere, &library.key);
        let now = library.town.now().await;
        let here = signed.clone().verify(&domain, now, &mut Nonces::default());
        assert_eq!(openledger_core::Error::from(here.unwrap_err()).kind(), ErrorKind::Denied);
        let there = signed.verify(&elsewhere, now, &mut Nonces::default()).unwrap();
        let signature = Code::copy_from_slice(there.signature().as_bytes());
        let call = grants.grantBySig(typed(&grant), signature);
        let brought = library.grantee.send("grant", call).await;
        assert_denied(brought, "SignatureInvalid");
    }
}

#[tokio::test]
async fn a_models_lineage_is_kept_and_its_status_never_goes_back() {
    let library = Library::new().await;
    let (owner, other) = (&library.owner, &library.grantee);
    let version =
        DatanetVersion { datanet: library.datanet, version: 1, root: B256::repeat_byte(3) };
    owner.publish(&version, 1).await.unwrap();
    let name = |byte: u8| B256::repeat_byte(byte);
    let entry = |model: u8, parent: u8| ModelEntry {
        model: name(model),
        parent: if parent == 0 { B256::ZERO } else { name(parent) },
        record: name(0x99),
        datanets: vec![version],
        price: Price { per_thousand_in: Amount::from(5), per_thousand_out: Amount::from(6) },
    };
    let status = async |byte: u8| owner.model(owner.sender(), name(byte)).await.unwrap().unwrap();
    assert_eq!(owner.model(owner.sender(), name(1)).await.unwrap(), None);
    // 1 ← 2 ← 3, and 1 builds on what was never registered here.
    for (model, parent) in [(1, 0xbb), (2, 1), (3, 2)] {
        owner.register(&entry(model, parent)).await.unwrap();
    }
    let lineage: Vec<B256> = [status(3).await, status(2).await, status(1).await]
        .iter()
        .map(|model| model.parent)
        .collect();
    assert_eq!(lineage, [name(2), name(1), name(0xbb)]);
    assert_denied(owner.register(&entry(4, 4)).await, "ParentIsItself");
    assert_denied(owner.register(&entry(1, 0)).await, "ModelExists");

    let dearer = Price { per_thousand_in: Amount::from(50), per_thousand_out: Amount::from(60) };
    owner.set_price(name(1), dearer).await.unwrap();
    assert_eq!((status(1).await.price, status(1).await.offer), (dearer, ModelOffer::Active));
    assert_denied(other.set_price(name(1), dearer).await, "ModelUnknown");
    assert_denied(other.deprecate(name(1), B256::ZERO).await, "ModelUnknown");
    assert_denied(other.revoke_model(name(1)).await, "ModelUnknown");

    assert_denied(owner.deprecate(name(1), name(1)).await, "ModelNotActive");
    assert_denied(owner.deprecate(name(1), name(0x77)).await, "ModelUnknown");
    owner.deprecate(name(1), name(2)).await.unwrap();
    assert_eq!(
        (status(1).await.offer, status(1).await.successor),
        (ModelOffer::Deprecated, name(2))
    );
    assert_denied(owner.deprecate(name(1), name(3)).await, "ModelNotActive");
    assert_denied(owner.deprecate(name(2), name(1)).await, "ModelNotActive");
    owner.revoke_model(name(1)).await.unwrap();
    assert_eq!(status(1).await.offer, ModelOffer::Revoked);
    let after = [
        owner.revoke_model(name(1)).await,
        owner.deprecate(name(1), B256::ZERO).await,
        owner.set_price(name(1), dearer).await,
    ];
    for refused in after {
        assert_denied(refused, "ModelIsRevoked");
    }
    assert_denied(owner.register(&entry(1, 0)).await, "ModelExists");
    assert_eq!(status(2).await.parent, name(1), "children keep saying where they are from");
}

/// An ERC-721 registry in which everything is one account's: it answers each call with its address.
fn all_belongs_to(owner: Address) -> Code {
    // PUSH20 owner, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN
    [&[0x73][..], owner.as_slice(), &[0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]].concat().into()
}

#[tokio::test]
async fn an_agent_is_linked_to_the_identity_its_owner_holds_and_not_to_anothers() {
    let town = Town::under(GovernancePreset::genesis()).await;
    let (owner, other) = (town.by(&town.voters[1]), town.by(&town.stranger));
    let at = owner.contracts().agents;
    let agents = AgentRegistry::new(at, owner.provider());
    let agent = owner.register_agent("judge", B256::repeat_byte(1)).await.unwrap().value;
    let twice = owner.register_agent("judge", B256::repeat_byte(2)).await;
    assert_denied(twice, "AgentExists");
    let theirs = other.register_agent("judge", B256::repeat_byte(1)).await.unwrap().value;
    assert_ne!(agent, theirs, "a name is its owner's");
    assert_eq!(owner.active_agent(agent).await.unwrap(), Some(owner.sender()));
    assert_denied(owner.link_identity(agent, U256::from(7)).await, "NoIdentityRegistry");

    let registry = Address::repeat_byte(0x80);
    town.dev.set_code(registry, all_belongs_to(owner.sender())).await.unwrap();
    let call = AgentRegistry::setIdentityRegistryCall { registry };
    town.rule(at, call, "identities").await.unwrap();
    assert_denied(other.link_identity(agent, U256::from(7)).await, "NotOwner");
    assert_denied(other.link_identity(theirs, U256::from(7)).await, "IdentityNotOwned");
    owner.link_identity(agent, U256::from(7)).await.unwrap();
    let identity = async || agents.identityOf(agent).call().await.unwrap();
    let linked = identity().await;
    assert_eq!((linked.registry, linked.token, linked.held), (registry, U256::from(7), true));

    // Sold: the link says so, and follows its new holder.
    town.dev.set_code(registry, all_belongs_to(other.sender())).await.unwrap();
    assert!(!identity().await.held);
    other.link_identity(theirs, U256::from(7)).await.unwrap();
    assert_eq!(identity().await.registry, Address::ZERO);
    assert!(agents.identityOf(theirs).call().await.unwrap().held);

    assert_denied(other.retire_agent(agent).await, "NotOwner");
    owner.retire_agent(agent).await.unwrap();
    assert_eq!(owner.active_agent(agent).await.unwrap(), None);
    assert_denied(owner.retire_agent(agent).await, "AgentNotActive");
    assert_denied(owner.register_agent("judge", B256::ZERO).await, "AgentExists");
    town.rule(at, AgentRegistry::revokeCall { agent: theirs }, "out").await.unwrap();
    assert_eq!(other.active_agent(theirs).await.unwrap(), None);
    assert_denied(other.retire_agent(theirs).await, "AgentNotActive");
}
