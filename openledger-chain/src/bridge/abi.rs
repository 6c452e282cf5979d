//! Bindings of the bridges' contracts, one module each.

use crate::abi::contract;

contract! {
    /// Carries messages that enough attestors sign.
    attested_gateway, AttestedGateway, "artifacts/AttestedGateway.json"
}
contract! {
    /// The mesh's adapter on the token's own chain.
    mesh_home, MeshHome, "artifacts/MeshHome.json"
}
contract! {
    /// The mesh's adapter on another chain.
    mesh_remote, MeshRemote, "artifacts/MeshRemote.json"
}
contract! {
    /// The OP Stack's portal: what goes to L2, and what was proven to come from there.
    optimism_portal, OptimismPortal, "artifacts/op/OptimismPortal.json"
}
contract! {
    /// The OP Stack's outputs: what L1 believes of L2.
    l2_output_oracle, L2OutputOracle, "artifacts/op/L2OutputOracle.json"
}
contract! {
    /// The OP Stack's messenger on L1.
    l1_messenger, L1CrossDomainMessenger, "artifacts/op/L1CrossDomainMessenger.json"
}
contract! {
    /// The OP Stack's standard bridge on L1.
    l1_bridge, L1StandardBridge, "artifacts/op/L1StandardBridge.json"
}
contract! {
    /// The OP Stack's messenger on L2.
    l2_messenger, L2CrossDomainMessenger, "artifacts/op/L2CrossDomainMessenger.json"
}
contract! {
    /// The OP Stack's standard bridge on L2.
    l2_bridge, L2StandardBridge, "artifacts/op/L2StandardBridge.json"
}
contract! {
    /// The OP Stack's log of what leaves L2.
    message_passer, L2ToL1MessagePasser, "artifacts/op/L2ToL1MessagePasser.json"
}
#[cfg(feature = "testing")]
contract! {
    /// The OP Stack's proxy.
    proxy, Proxy, "artifacts/op/Proxy.json"
}
#[cfg(feature = "testing")]
contract! {
    /// The OP Stack's pause.
    superchain_config, SuperchainConfig, "artifacts/op/SuperchainConfig.json"
}
#[cfg(feature = "testing")]
contract! {
    /// The OP Stack's parameters.
    system_config, SystemConfig, "artifacts/op/SystemConfig.json"
}
#[cfg(feature = "testing")]
contract! {
    /// What L2 knows of L1.
    l1_block, L1Block, "artifacts/op/L1Block.json"
}

/// The part of ERC-20 that a bridge needs.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::restriction, reason = "generated")]
pub mod erc20 {
    alloy::sol! {
        #[sol(rpc)]
        interface Erc20 {
            function allowance(address owner, address spender) external view returns (uint256);
            function approve(address spender, uint256 amount) external returns (bool);
            function balanceOf(address account) external view returns (uint256);
            function totalSupply() external view returns (uint256);
        }
    }
}
