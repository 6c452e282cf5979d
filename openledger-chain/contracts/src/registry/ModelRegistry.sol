// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DatanetRegistry} from "./DatanetRegistry.sol";

/// A published state of a Datanet, as receipts name it.
struct DatanetVersion {
    bytes32 datanet;
    uint64 version;
    bytes32 root;
}

/// Models and adapters: what they were made of, who is paid for them, what they cost.
///
/// A model is named by the hash of its files. Registrations are kept by owner and hash, so that
/// seeing a hash before its owner registers it is of no use to anybody else.
contract ModelRegistry {
    struct Model {
        bytes32 parent;
        bytes32 record;
        uint128 priceIn;
        uint128 priceOut;
        uint40 registeredAt;
    }

    DatanetRegistry public immutable DATANETS;

    mapping(address owner => mapping(bytes32 model => Model)) public models;

    event ModelRegistered(
        address indexed owner, bytes32 indexed model, bytes32 indexed parent, bytes32 record, DatanetVersion[] datanets
    );
    event PriceChanged(address indexed owner, bytes32 indexed model, uint128 priceIn, uint128 priceOut);

    error ModelExists(address owner, bytes32 model);
    error ModelUnknown(address owner, bytes32 model);
    error VersionUnknown(bytes32 datanet, uint64 version);
    error ModelEmpty();

    constructor(DatanetRegistry datanets) {
        DATANETS = datanets;
    }

    /// Registers the caller's model. `parent` is the hash of the model it builds on, zero for none;
    /// `record` the digest of its training record; prices are for 1,000 tokens in and out.
    function register(
        bytes32 model,
        bytes32 parent,
        bytes32 record,
        DatanetVersion[] calldata datanets,
        uint128 priceIn,
        uint128 priceOut
    ) external {
        if (model == bytes32(0)) revert ModelEmpty();
        Model storage slot = models[msg.sender][model];
        if (slot.registeredAt != 0) revert ModelExists(msg.sender, model);
        for (uint256 i = 0; i < datanets.length; ++i) {
            DatanetVersion calldata v = datanets[i];
            if (v.root == bytes32(0) || DATANETS.roots(v.datanet, v.version) != v.root) {
                revert VersionUnknown(v.datanet, v.version);
            }
        }
        models[msg.sender][model] = Model({
            parent: parent,
            record: record,
            priceIn: priceIn,
            priceOut: priceOut,
            registeredAt: uint40(block.timestamp)
        });
        emit ModelRegistered(msg.sender, model, parent, record, datanets);
    }

    /// Changes the caller's prices; receipts signed before keep the fee they name.
    function setPrice(bytes32 model, uint128 priceIn, uint128 priceOut) external {
        Model storage slot = models[msg.sender][model];
        if (slot.registeredAt == 0) revert ModelUnknown(msg.sender, model);
        (slot.priceIn, slot.priceOut) = (priceIn, priceOut);
        emit PriceChanged(msg.sender, model, priceIn, priceOut);
    }
}
