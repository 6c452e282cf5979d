// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

/// The address by which a registry is known for good; its code is elsewhere and can be replaced.
///
/// Initialised by the transaction that deploys it, so that nobody can come between: without
/// `initialisation` the deployment reverts.
contract RegistryProxy is ERC1967Proxy {
    constructor(address implementation, bytes memory initialisation) ERC1967Proxy(implementation, initialisation) {}
}
