// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Registry} from "./Registry.sol";

/// Datanets: whose they are, what they hold, and the roots of their versions.
///
/// Rows stay off chain; a version's root commits to (row, contributor) pairs, so that anybody who
/// holds a row can prove whose it is. Descriptions stay off chain too: the last event names the
/// digest of the current one.
contract DatanetRegistry is Registry {
    enum Kind {
        Text,
        Image,
        Audio
    }

    /// One storage slot. A closed Datanet takes nothing new and never opens again.
    struct Datanet {
        address owner;
        uint40 createdAt;
        uint32 versions;
        Kind kind;
        bool isPrivate;
        bool closed;
    }

    /// @custom:storage-location erc7201:openledger.storage.DatanetRegistry
    struct DatanetStorage {
        mapping(bytes32 datanet => Datanet) datanets;
        mapping(bytes32 datanet => mapping(uint64 version => bytes32 root)) roots;
        mapping(bytes32 datanet => address) pendingOwners;
        mapping(bytes32 datanet => mapping(address contributor => bool)) approved;
    }

    bytes32 private constant DATANET_STORAGE = 0x89e21eb98a99ad74696ff9cc7f797d53cf7230fa3926bb449dd08a57f81bef00;

    uint8 public constant PAUSE_CREATE = 0;
    uint8 public constant PAUSE_PUBLISH = 1;

    event DatanetCreated(
        bytes32 indexed datanet, address indexed owner, string name, bytes32 metadata, Kind kind, bool isPrivate
    );
    event MetadataChanged(bytes32 indexed datanet, bytes32 metadata);
    event PrivacyChanged(bytes32 indexed datanet, bool isPrivate);
    event ContributorApproval(bytes32 indexed datanet, address indexed contributor, bool approved);
    event OwnershipOffered(bytes32 indexed datanet, address indexed owner, address indexed to);
    event OwnershipTransferred(bytes32 indexed datanet, address indexed from, address indexed to);
    event VersionPublished(bytes32 indexed datanet, uint64 indexed version, bytes32 root, uint64 rows);
    event DatanetClosed(bytes32 indexed datanet);

    error DatanetExists(bytes32 datanet);
    error DatanetIsClosed(bytes32 datanet);
    error NameEmpty();
    error NotOwner(bytes32 datanet, address caller);
    error NotPendingOwner(bytes32 datanet, address caller);
    error RootEmpty();

    modifier onlyOwner(bytes32 datanet) {
        if (ownerOf(datanet) != msg.sender) revert NotOwner(datanet, msg.sender);
        _;
    }

    modifier onlyLive(bytes32 datanet) {
        if (_storage().datanets[datanet].closed) revert DatanetIsClosed(datanet);
        _;
    }

    function initialize(address authority) external initializer {
        __AccessManaged_init(authority);
    }

    /// Creates the caller's Datanet called `name`; `metadata` is the digest of its description. Its
    /// kind is fixed for good.
    function create(string calldata name, bytes32 metadata, Kind kind, bool isPrivate)
        external
        whenOpen(PAUSE_CREATE)
        returns (bytes32 datanet)
    {
        if (bytes(name).length == 0) revert NameEmpty();
        datanet = datanetId(msg.sender, name);
        if (ownerOf(datanet) != address(0)) revert DatanetExists(datanet);
        _storage().datanets[datanet] = Datanet({
            owner: msg.sender,
            createdAt: uint40(block.timestamp),
            versions: 0,
            kind: kind,
            isPrivate: isPrivate,
            closed: false
        });
        emit DatanetCreated(datanet, msg.sender, name, metadata, kind, isPrivate);
    }

    /// Names a new description.
    function setMetadata(bytes32 datanet, bytes32 metadata) external onlyOwner(datanet) {
        emit MetadataChanged(datanet, metadata);
    }

    /// Lets everybody contribute, or only whom the owner approves. What is in stays in.
    function setPrivate(bytes32 datanet, bool isPrivate) external onlyOwner(datanet) {
        _storage().datanets[datanet].isPrivate = isPrivate;
        emit PrivacyChanged(datanet, isPrivate);
    }

    /// Lets an account contribute while the Datanet is private, or no longer.
    function setContributor(bytes32 datanet, address contributor, bool approved) external onlyOwner(datanet) {
        _storage().approved[datanet][contributor] = approved;
        emit ContributorApproval(datanet, contributor, approved);
    }

    /// Offers the Datanet to `to`, in place of any earlier offer; the zero address takes it back.
    function offerOwnership(bytes32 datanet, address to) external onlyOwner(datanet) {
        _storage().pendingOwners[datanet] = to;
        emit OwnershipOffered(datanet, msg.sender, to);
    }

    /// Takes a Datanet that was offered to the caller. Its id stays that of its creator.
    function acceptOwnership(bytes32 datanet) external {
        DatanetStorage storage $ = _storage();
        if ($.pendingOwners[datanet] != msg.sender) revert NotPendingOwner(datanet, msg.sender);
        address from = $.datanets[datanet].owner;
        delete $.pendingOwners[datanet];
        $.datanets[datanet].owner = msg.sender;
        emit OwnershipTransferred(datanet, from, msg.sender);
    }

    /// Publishes the next version of a Datanet.
    function publish(bytes32 datanet, bytes32 root, uint64 rows)
        external
        whenOpen(PAUSE_PUBLISH)
        onlyOwner(datanet)
        onlyLive(datanet)
        returns (uint64 version)
    {
        if (root == bytes32(0)) revert RootEmpty();
        DatanetStorage storage $ = _storage();
        version = ++$.datanets[datanet].versions;
        $.roots[datanet][version] = root;
        emit VersionPublished(datanet, version, root, rows);
    }

    /// Closes a Datanet for good: no more contributions, no more versions. Those it has stay.
    function close(bytes32 datanet) external onlyOwner(datanet) onlyLive(datanet) {
        _storage().datanets[datanet].closed = true;
        emit DatanetClosed(datanet);
    }

    function datanets(bytes32 datanet) external view returns (Datanet memory) {
        return _storage().datanets[datanet];
    }

    function roots(bytes32 datanet, uint64 version) external view returns (bytes32) {
        return _storage().roots[datanet][version];
    }

    function pendingOwnerOf(bytes32 datanet) external view returns (address) {
        return _storage().pendingOwners[datanet];
    }

    function isApproved(bytes32 datanet, address contributor) external view returns (bool) {
        return _storage().approved[datanet][contributor];
    }

    /// Who decides about contributions to a Datanet, zero if there is none such, and whether it may
    /// take one of `contributor` now.
    function intake(bytes32 datanet, address contributor) external view returns (address owner, bool open) {
        DatanetStorage storage $ = _storage();
        Datanet memory d = $.datanets[datanet];
        owner = d.owner;
        open = owner != address(0) && !d.closed && (!d.isPrivate || $.approved[datanet][contributor]);
    }

    /// Whether `row` of `contributor` is in a version: `proof` as OpenZeppelin's StandardMerkleTree
    /// makes it for leaves (bytes32, address).
    function contains(bytes32 datanet, uint64 version, bytes32 row, address contributor, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 root = _storage().roots[datanet][version];
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(row, contributor))));
        return root != bytes32(0) && MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// The id of the Datanet that `creator` creates as `name`: bound to chain, contract and creator,
    /// so that nobody can take another's. The contract is the proxy.
    function datanetId(address creator, string calldata name) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), creator, name));
    }

    /// The Datanet's owner, zero if there is no such Datanet.
    function ownerOf(bytes32 datanet) public view returns (address) {
        return _storage().datanets[datanet].owner;
    }

    function pausable() public pure override returns (uint128) {
        return uint128(1) << PAUSE_CREATE | uint128(1) << PAUSE_PUBLISH;
    }

    function _storage() private pure returns (DatanetStorage storage $) {
        assembly {
            $.slot := DATANET_STORAGE
        }
    }
}
