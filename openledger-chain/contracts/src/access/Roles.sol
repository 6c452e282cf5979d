// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

/// Who may call which restricted function: roles, their members and delays, in one place.
contract Roles is AccessManager {
    constructor(address admin) AccessManager(admin) {}
}
