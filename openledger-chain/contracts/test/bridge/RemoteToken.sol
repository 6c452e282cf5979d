// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// The smallest token a mesh can mint: ERC-7802's two functions for one bridge, which is named later.
contract RemoteToken is ERC20 {
    address public bridge;
    uint256 public minted;
    uint256 public burnt;

    error OnlyBridge(address caller);

    constructor() ERC20("OpenLedger", "OPEN") {}

    function setBridge(address bridge_) external {
        bridge = bridge_;
    }

    function crosschainMint(address to, uint256 amount) external {
        if (msg.sender != bridge) revert OnlyBridge(msg.sender);
        minted += amount;
        _mint(to, amount);
    }

    function crosschainBurn(address from, uint256 amount) external {
        if (msg.sender != bridge) revert OnlyBridge(msg.sender);
        burnt += amount;
        _burn(from, amount);
    }
}
