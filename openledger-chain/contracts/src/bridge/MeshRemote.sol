// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BridgeERC7802} from "@openzeppelin/contracts/crosschain/bridges/BridgeERC7802.sol";
import {BridgeFungible} from "@openzeppelin/contracts/crosschain/bridges/abstract/BridgeFungible.sol";
import {IERC7802} from "@openzeppelin/contracts/interfaces/draft-IERC7802.sol";

import {MeshAdapter} from "./MeshAdapter.sol";

/// The mesh's adapter on a chain that is not the token's own: it burns what leaves and mints what
/// arrives, and holds nothing. Nobody else should mint the token: the mesh has nothing locked for it.
contract MeshRemote is BridgeERC7802, MeshAdapter {
    constructor(address authority, address gateway, IERC7802 token_, uint208 outgoing, uint208 incoming)
        BridgeERC7802(token_)
        MeshAdapter(authority, gateway, outgoing, incoming)
    {}

    function _crosschainTransfer(address from, bytes memory to, uint256 amount)
        internal
        override(BridgeFungible, MeshAdapter)
        returns (bytes32)
    {
        return MeshAdapter._crosschainTransfer(from, to, amount);
    }

    function _onSend(address from, uint256 amount) internal override(BridgeERC7802, BridgeFungible) {
        BridgeERC7802._onSend(from, amount);
    }

    function _onReceive(address to, uint256 amount) internal override(BridgeERC7802, BridgeFungible) {
        _consumeIncoming(amount);
        BridgeERC7802._onReceive(to, amount);
    }
}
