// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// What a contributor signs; the same text is in the Rust crate `openledger-core`.
struct Contribution {
    bytes32 datanet;
    bytes32 root;
    uint64 rows;
    uint64 size;
    bytes32 terms;
    address contributor;
    uint256 nonce;
    uint64 deadline;
}

/// Datanets, the contributions recorded in them, and the roots of their versions.
///
/// Rows stay off chain; a version's root commits to (row, contributor) pairs, so that anybody who
/// holds a row can prove whose it is.
contract DatanetRegistry is EIP712 {
    struct Datanet {
        address owner;
        uint40 createdAt;
        uint40 versions;
    }

    /// A recorded contribution, one storage slot.
    struct Recorded {
        address contributor;
        uint40 recordedAt;
        uint40 rows;
    }

    bytes32 private constant CONTRIBUTION_TYPEHASH = keccak256(
        "Contribution(bytes32 datanet,bytes32 root,uint64 rows,uint64 size,bytes32 terms,address contributor,uint256 nonce,uint64 deadline)"
    );

    mapping(bytes32 datanet => Datanet) public datanets;
    mapping(bytes32 datanet => mapping(uint64 version => bytes32 root)) public roots;
    mapping(bytes32 datanet => mapping(bytes32 root => Recorded)) public contributions;

    event DatanetCreated(bytes32 indexed datanet, address indexed owner, string name, bytes32 metadata);
    event Contributed(
        bytes32 indexed datanet, address indexed contributor, bytes32 indexed contribution, bytes32 root, uint64 rows, bytes32 terms
    );
    event VersionPublished(bytes32 indexed datanet, uint64 indexed version, bytes32 root, uint64 rows);

    error DatanetExists(bytes32 datanet);
    error NotOwner(bytes32 datanet, address caller);
    error ContributionExists(bytes32 datanet, bytes32 root);
    error ContributionExpired(uint64 deadline);
    error ContributionEmpty();
    error SignatureInvalid(address contributor);
    error RootEmpty();

    constructor() EIP712("OpenLedger", "1") {}

    modifier onlyOwner(bytes32 datanet) {
        if (datanets[datanet].owner != msg.sender) revert NotOwner(datanet, msg.sender);
        _;
    }

    /// The id of `owner`'s Datanet called `name`: bound to chain, contract and owner, so that
    /// nobody can take another's.
    function datanetId(address owner, string calldata name) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), owner, name));
    }

    /// Creates the caller's Datanet called `name`; `metadata` is the digest of its description.
    function create(string calldata name, bytes32 metadata) external returns (bytes32 datanet) {
        datanet = datanetId(msg.sender, name);
        if (datanets[datanet].owner != address(0)) revert DatanetExists(datanet);
        datanets[datanet] = Datanet({owner: msg.sender, createdAt: uint40(block.timestamp), versions: 0});
        emit DatanetCreated(datanet, msg.sender, name, metadata);
    }

    /// Records a contribution the Datanet's owner accepts. The contributor signed it and pays no gas.
    function record(Contribution calldata c, bytes calldata signature)
        external
        onlyOwner(c.datanet)
        returns (bytes32 contribution)
    {
        if (c.rows == 0) revert ContributionEmpty();
        if (block.timestamp > c.deadline) revert ContributionExpired(c.deadline);
        Recorded storage slot = contributions[c.datanet][c.root];
        if (slot.contributor != address(0)) revert ContributionExists(c.datanet, c.root);
        contribution = keccak256(
            abi.encode(
                CONTRIBUTION_TYPEHASH, c.datanet, c.root, c.rows, c.size, c.terms, c.contributor, c.nonce, c.deadline
            )
        );
        if (!SignatureChecker.isValidSignatureNow(c.contributor, _hashTypedDataV4(contribution), signature)) {
            revert SignatureInvalid(c.contributor);
        }
        slot.contributor = c.contributor;
        slot.recordedAt = uint40(block.timestamp);
        slot.rows = uint40(c.rows);
        emit Contributed(c.datanet, c.contributor, contribution, c.root, c.rows, c.terms);
    }

    /// Publishes the next version of a Datanet.
    function publish(bytes32 datanet, bytes32 root, uint64 rows)
        external
        onlyOwner(datanet)
        returns (uint64 version)
    {
        if (root == bytes32(0)) revert RootEmpty();
        version = uint64(++datanets[datanet].versions);
        roots[datanet][version] = root;
        emit VersionPublished(datanet, version, root, rows);
    }

    /// Whether `row` of `contributor` is in a version: `proof` as OpenZeppelin's StandardMerkleTree
    /// makes it for leaves (bytes32, address).
    function contains(bytes32 datanet, uint64 version, bytes32 row, address contributor, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 root = roots[datanet][version];
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(row, contributor))));
        return root != bytes32(0) && MerkleProof.verifyCalldata(proof, root, leaf);
    }
}
