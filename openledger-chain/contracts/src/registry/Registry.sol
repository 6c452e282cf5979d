// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManagedUpgradeable} from
    "@openzeppelin/contracts-upgradeable/access/manager/AccessManagedUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";

/// What every registry is: code behind a proxy that only governance replaces, with one switch per
/// function that can be paused.
///
/// Registries hold no money, so they may be mended; what they remember lies at ERC-7201 slots that
/// no replacement can mistake for its own. By taking back, revoking and handing over, people get
/// out: such functions have no switch.
abstract contract Registry is UUPSUpgradeable, AccessManagedUpgradeable {
    /// @custom:storage-location erc7201:openledger.storage.Registry
    struct RegistryStorage {
        uint128 paused;
    }

    bytes32 private constant REGISTRY_STORAGE = 0xbfe5c091957b3847de0a73d70cd0fe11d0d69a538e41754a91705460f5ab9c00;

    event Paused(uint128 flags, address indexed by);
    event Unpaused(uint128 flags, address indexed by);

    error FunctionPaused(uint8 flag);
    error FlagsUnknown(uint128 flags);

    /// Locks the implementation: only proxies are initialised.
    constructor() {
        _disableInitializers();
    }

    modifier whenOpen(uint8 flag) {
        if (isPaused(flag)) revert FunctionPaused(flag);
        _;
    }

    /// Pauses the functions whose bits are set in `flags`.
    function pause(uint128 flags) external restricted {
        if (flags == 0 || flags & ~pausable() != 0) revert FlagsUnknown(flags);
        _registry().paused |= flags;
        emit Paused(flags, msg.sender);
    }

    /// Opens the functions whose bits are set in `flags`.
    function unpause(uint128 flags) external restricted {
        _registry().paused &= ~flags;
        emit Unpaused(flags, msg.sender);
    }

    /// Whether the function with this flag is paused.
    function isPaused(uint8 flag) public view returns (bool) {
        return _registry().paused & (uint128(1) << flag) != 0;
    }

    /// The bits in use.
    function pausable() public pure virtual returns (uint128);

    /// `restricted` judges the function that entered the contract, and `upgradeToAndCall` is the
    /// only one that leads here.
    function _authorizeUpgrade(address) internal override restricted {}

    function _registry() private pure returns (RegistryStorage storage $) {
        assembly {
            $.slot := REGISTRY_STORAGE
        }
    }
}
