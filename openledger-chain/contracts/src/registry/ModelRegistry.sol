// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DatanetRegistry} from "./DatanetRegistry.sol";
import {DatanetVersion} from "./DatanetVersion.sol";
import {Registry} from "./Registry.sol";

/// Models and adapters: what they were made of, who is paid for them, what they cost.
///
/// A model is named by the hash of its files. Registrations are kept by owner and hash, so that
/// seeing a hash before its owner registers it is of no use to anybody else. A model's status only
/// moves on: active, deprecated, revoked.
contract ModelRegistry is Registry {
    enum Status {
        None,
        Active,
        Deprecated,
        Revoked
    }

    struct Model {
        bytes32 parent;
        bytes32 record;
        uint128 priceIn;
        uint128 priceOut;
        uint40 registeredAt;
        Status status;
        bytes32 successor;
    }

    /// @custom:storage-location erc7201:openledger.storage.ModelRegistry
    struct ModelStorage {
        mapping(address owner => mapping(bytes32 model => Model)) models;
    }

    bytes32 private constant MODEL_STORAGE = 0xcbe6ec4a17d7f9d3c5d1a39a9242e27975e309a89d123fc696d0e32b5bf57d00;

    uint8 public constant PAUSE_REGISTER = 0;

    DatanetRegistry public immutable DATANETS;

    event ModelRegistered(
        address indexed owner, bytes32 indexed model, bytes32 indexed parent, bytes32 record, DatanetVersion[] datanets
    );
    event PriceChanged(address indexed owner, bytes32 indexed model, uint128 priceIn, uint128 priceOut);
    event ModelDeprecated(address indexed owner, bytes32 indexed model, bytes32 indexed successor);
    event ModelRevoked(address indexed owner, bytes32 indexed model);

    error ModelExists(address owner, bytes32 model);
    error ModelUnknown(address owner, bytes32 model);
    error ModelNotActive(address owner, bytes32 model, Status status);
    error ModelIsRevoked(address owner, bytes32 model);
    error VersionUnknown(bytes32 datanet, uint64 version);
    error ModelEmpty();
    error ParentIsItself(bytes32 model);

    constructor(DatanetRegistry datanets) {
        DATANETS = datanets;
    }

    function initialize(address authority) external initializer {
        __AccessManaged_init(authority);
    }

    /// Registers the caller's model. `parent` is the hash of the model it builds on, which may be one
    /// that nobody registered here, zero for none; `record` the digest of its training record; prices
    /// are for 1,000 tokens in and out.
    function register(
        bytes32 model,
        bytes32 parent,
        bytes32 record,
        DatanetVersion[] calldata datanets,
        uint128 priceIn,
        uint128 priceOut
    ) external whenOpen(PAUSE_REGISTER) {
        if (model == bytes32(0)) revert ModelEmpty();
        if (model == parent) revert ParentIsItself(model);
        Model storage slot = _storage().models[msg.sender][model];
        if (slot.status != Status.None) revert ModelExists(msg.sender, model);
        for (uint256 i = 0; i < datanets.length; ++i) {
            DatanetVersion calldata v = datanets[i];
            if (v.root == bytes32(0) || DATANETS.roots(v.datanet, v.version) != v.root) {
                revert VersionUnknown(v.datanet, v.version);
            }
        }
        (slot.parent, slot.record) = (parent, record);
        (slot.priceIn, slot.priceOut) = (priceIn, priceOut);
        (slot.registeredAt, slot.status) = (uint40(block.timestamp), Status.Active);
        emit ModelRegistered(msg.sender, model, parent, record, datanets);
        emit PriceChanged(msg.sender, model, priceIn, priceOut);
    }

    /// Changes the caller's prices; receipts signed before keep the fee they name.
    function setPrice(bytes32 model, uint128 priceIn, uint128 priceOut) external {
        Model storage slot = _standing(model);
        (slot.priceIn, slot.priceOut) = (priceIn, priceOut);
        emit PriceChanged(msg.sender, model, priceIn, priceOut);
    }

    /// Tells users to move on, to the caller's `successor` if it is not zero. The successor is active,
    /// so following successors always ends.
    function deprecate(bytes32 model, bytes32 successor) external {
        Model storage slot = _active(model);
        slot.status = Status.Deprecated;
        if (successor != bytes32(0)) {
            _active(successor);
            slot.successor = successor;
        }
        emit ModelDeprecated(msg.sender, model, successor);
    }

    /// Withdraws the caller's model for good.
    function revoke(bytes32 model) external {
        _standing(model).status = Status.Revoked;
        emit ModelRevoked(msg.sender, model);
    }

    function models(address owner, bytes32 model) external view returns (Model memory) {
        return _storage().models[owner][model];
    }

    /// When `owner` registered `model`, zero for never.
    function registeredAt(address owner, bytes32 model) external view returns (uint40) {
        return _storage().models[owner][model].registeredAt;
    }

    function statusOf(address owner, bytes32 model) external view returns (Status) {
        return _storage().models[owner][model].status;
    }

    function pausable() public pure override returns (uint128) {
        return uint128(1) << PAUSE_REGISTER;
    }

    function _standing(bytes32 model) private view returns (Model storage slot) {
        slot = _storage().models[msg.sender][model];
        if (slot.status == Status.None) revert ModelUnknown(msg.sender, model);
        if (slot.status == Status.Revoked) revert ModelIsRevoked(msg.sender, model);
    }

    function _active(bytes32 model) private view returns (Model storage slot) {
        slot = _standing(model);
        if (slot.status != Status.Active) revert ModelNotActive(msg.sender, model, slot.status);
    }

    function _storage() private pure returns (ModelStorage storage $) {
        assembly {
            $.slot := MODEL_STORAGE
        }
    }
}
