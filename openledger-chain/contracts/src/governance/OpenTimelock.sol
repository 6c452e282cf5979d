// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// Holds every power over the other contracts, and uses it only after a delay.
///
/// The governor and the ballot box propose and cancel; with the zero address among the executors
/// anybody executes what is due. `admin` hands out the roles at deployment and then renounces.
contract OpenTimelock is TimelockController {
    constructor(uint256 minDelay, address[] memory proposers, address[] memory executors, address admin)
        TimelockController(minDelay, proposers, executors, admin)
    {}
}
