// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {VestingWallet} from "@openzeppelin/contracts/finance/VestingWallet.sol";

/// Tokens that become free second by second from `start` on, none at the start itself.
///
/// A cliff is a later start: nothing is free before it, and nothing jumps free at it.
contract Vesting is VestingWallet {
    error WouldLoseTheRest();

    constructor(address beneficiary, uint64 start, uint64 duration) VestingWallet(beneficiary, start, duration) {}

    /// A vesting without beneficiary could never be released.
    function renounceOwnership() public pure override {
        revert WouldLoseTheRest();
    }
}
