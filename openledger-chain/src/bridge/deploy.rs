//! Puts a mesh on its chains.

use alloy::{primitives::Uint, sol_types::SolConstructor};
use openledger_core::{Address, Amount, Result, U256};
use serde::{Deserialize, Serialize};

use super::{
    Side, Step,
    abi::{attested_gateway::AttestedGateway, mesh_home::MeshHome, mesh_remote::MeshRemote},
};
use openledger_core::{Error, ErrorKind};

/// One chain's end of a mesh.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "an end is these two")]
pub struct MeshEnd {
    /// `AttestedGateway`.
    pub gateway: Address,
    /// `MeshHome` or `MeshRemote`.
    pub adapter: Address,
}

/// Who attests, who governs, and how much may cross in a day.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a deployment has no defaults: all must be said")]
pub struct MeshOptions {
    /// The access manager of this chain.
    pub authority: Address,
    /// The attestors.
    pub attestors: Vec<Address>,
    /// How many of them must sign.
    pub threshold: u32,
    /// What may leave in a day.
    pub outgoing: Amount,
    /// What may arrive in a day.
    pub incoming: Amount,
}

/// Deploys the end on the token's own chain.
///
/// # Errors
/// [`ErrorKind::Limit`] for a limit past 208 bits; [`ErrorKind::Denied`] for a threshold that is
/// zero or more than there are attestors; [`ErrorKind::Unavailable`] if the node does not answer.
pub async fn deploy_home(
    side: &Side,
    token: Address,
    options: &MeshOptions,
) -> Result<Step<MeshEnd>> {
    deploy(side, options, |gateway, outgoing, incoming| {
        let arguments = MeshHome::constructorCall {
            authority: options.authority,
            gateway,
            token_: token,
            outgoing,
            incoming,
        };
        ("MeshHome", [&MeshHome::BYTECODE[..], &arguments.abi_encode()].concat())
    })
    .await
}

/// Deploys the end on another chain, where `token` is an ERC-7802 token that lets it mint.
///
/// # Errors
/// As [`deploy_home`].
pub async fn deploy_remote(
    side: &Side,
    token: Address,
    options: &MeshOptions,
) -> Result<Step<MeshEnd>> {
    deploy(side, options, |gateway, outgoing, incoming| {
        let arguments = MeshRemote::constructorCall {
            authority: options.authority,
            gateway,
            token_: token,
            outgoing,
            incoming,
        };
        ("MeshRemote", [&MeshRemote::BYTECODE[..], &arguments.abi_encode()].concat())
    })
    .await
}

/// Names `other`, on the chain `chain`, to the end on this side, once and for all. The sender must
/// be the authority's admin.
///
/// # Errors
/// [`ErrorKind::Denied`] if it is not, or if that chain is linked already.
pub async fn link(side: &Side, end: MeshEnd, chain: u64, other: MeshEnd) -> Result<Step> {
    let chain = U256::from(chain);
    let gateway = AttestedGateway::new(end.gateway, side.provider());
    let peer = side.send("set a gateway's peer", gateway.setPeer(chain, other.gateway)).await?;
    let adapter = MeshHome::new(end.adapter, side.provider());
    let linked = side.send("link an adapter", adapter.link(chain, other.adapter)).await?;
    Ok(Step { value: (), txs: vec![peer, linked] })
}

async fn deploy(
    side: &Side,
    options: &MeshOptions,
    adapter: impl FnOnce(Address, Uint<208, 4>, Uint<208, 4>) -> (&'static str, Vec<u8>),
) -> Result<Step<MeshEnd>> {
    let limit = |amount: Amount| {
        Uint::<208, 4>::checked_from_limbs_slice(amount.units().as_limbs()).ok_or_else(|| {
            Error::new(ErrorKind::Limit, format!("a daily limit of {amount} is past 208 bits"))
        })
    };
    let (outgoing, incoming) = (limit(options.outgoing)?, limit(options.incoming)?);
    let arguments = AttestedGateway::constructorCall {
        authority: options.authority,
        attestors_: options.attestors.clone(),
        threshold_: options.threshold,
    };
    let arguments = arguments.abi_encode();
    let (gateway, first) =
        side.create("AttestedGateway", &AttestedGateway::BYTECODE, &arguments).await?;
    let (name, code) = adapter(gateway, outgoing, incoming);
    let (adapter, second) = side.create(name, &code, &[]).await?;
    Ok(Step { value: MeshEnd { gateway, adapter }, txs: vec![first, second] })
}
