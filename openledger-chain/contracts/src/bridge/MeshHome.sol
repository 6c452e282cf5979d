// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BridgeERC20} from "@openzeppelin/contracts/crosschain/bridges/BridgeERC20.sol";
import {BridgeFungible} from "@openzeppelin/contracts/crosschain/bridges/abstract/BridgeFungible.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {MeshAdapter} from "./MeshAdapter.sol";

/// The mesh's adapter on the token's own chain, the only one that holds tokens: it locks what leaves
/// and releases what comes back. What it holds is what exists elsewhere or is on its way. Nothing but
/// a message of a linked adapter takes tokens out.
contract MeshHome is BridgeERC20, MeshAdapter {
    constructor(address authority, address gateway, IERC20 token_, uint208 outgoing, uint208 incoming)
        BridgeERC20(token_)
        MeshAdapter(authority, gateway, outgoing, incoming)
    {}

    function _crosschainTransfer(address from, bytes memory to, uint256 amount)
        internal
        override(BridgeFungible, MeshAdapter)
        returns (bytes32)
    {
        return MeshAdapter._crosschainTransfer(from, to, amount);
    }

    function _onSend(address from, uint256 amount) internal override(BridgeERC20, BridgeFungible) {
        BridgeERC20._onSend(from, amount);
    }

    function _onReceive(address to, uint256 amount) internal override(BridgeERC20, BridgeFungible) {
        _consumeIncoming(amount);
        BridgeERC20._onReceive(to, amount);
    }
}
