// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// OPEN: one billion, minted once, burnable, never minted again.
///
/// It has no votes: each checkpoint would add some 33,000 gas to a transfer, and this token moves
/// with every payment. Votes are with GovernanceOpen, which whoever votes wraps it into.
/// Payments can be signed instead of sent (ERC-3009, random nonces, as x402 clients make them).
contract OpenToken is ERC20, ERC20Burnable, ERC20Permit, ERC3009 {
    uint256 public constant SUPPLY = 1_000_000_000 ether;

    constructor(address treasury) ERC20("OpenLedger", "OPEN") ERC20Permit("OpenLedger") {
        _mint(treasury, SUPPLY);
    }
}
