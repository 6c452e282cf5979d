// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {EIP712Upgradeable} from "@openzeppelin/contracts-upgradeable/utils/cryptography/EIP712Upgradeable.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {DatanetRegistry} from "./DatanetRegistry.sol";
import {Registry} from "./Registry.sol";
import {Contribution, Withdrawal, hashOf} from "./Statements.sol";

/// Contributions to Datanets, and what became of them.
///
/// A contribution is named by its Datanet, its contributor and the root of its rows, so nobody can
/// take or block another's: who copies a root holds a name of his own, under leaves (row,
/// contributor) that still say whose the rows are.
///
/// ```text
/// None ─ contribute ─▶ Pending ─ accept ─▶ Accepted ─┐
///   │                     └───── reject ─▶ Rejected ─┤ consent withdrawn, or dispute lost
///   ├─ record (signed) ────────────────▶ Accepted    ├──────────▶ Revoked, for good
///   └─ consent withdrawn beforehand ─────────────────┘
/// ```
///
/// A name leaves `None` once and never comes back to it, so each signed statement counts once at
/// most: that replaces a table of nonces.
contract ContributionRegistry is Registry, EIP712Upgradeable {
    enum Status {
        None,
        Pending,
        Accepted,
        Rejected,
        Revoked
    }

    struct Entry {
        uint40 recordedAt;
        uint64 rows;
        Status status;
    }

    /// An entry in one storage slot, lowest field first. Packed by hand, because the compiler would
    /// write the fields of a struct one by one.
    struct Packed {
        uint256 word;
    }

    /// @custom:storage-location erc7201:openledger.storage.ContributionRegistry
    struct ContributionStorage {
        mapping(bytes32 datanet => mapping(address contributor => mapping(bytes32 root => Packed))) entries;
    }

    bytes32 private constant CONTRIBUTION_STORAGE = 0x87789af29d68ca36274b44178c559b19c1dc4d07eb6f76b46e54eef112536a00;

    uint256 private constant ROWS = 40;
    uint256 private constant STATUS = ROWS + 64;
    uint256 private constant PENDING = uint256(Status.Pending) << STATUS;
    uint256 private constant ACCEPTED = uint256(Status.Accepted) << STATUS;

    uint8 public constant PAUSE_RECORD = 0;
    uint8 public constant PAUSE_ACCEPT = 1;

    DatanetRegistry public immutable DATANETS;

    /// Offered by the contributor; waits for the owner.
    event Submitted(bytes32 indexed datanet, address indexed contributor, bytes32 indexed root, bytes32 da);
    event SubmittedBatch(
        bytes32 indexed datanet, address indexed contributor, bytes32 indexed root, uint64 rows, bytes32 da
    );
    /// Recorded from a signature and accepted; `contribution` is the hash of what was signed.
    event Contributed(
        bytes32 indexed datanet, address indexed contributor, bytes32 indexed contribution, bytes32 root, uint64 rows, bytes32 terms
    );
    event Accepted(bytes32 indexed datanet, address indexed contributor, bytes32 indexed root);
    event Rejected(bytes32 indexed datanet, address indexed contributor, bytes32 indexed root);
    /// `by` is the contributor, or the contract that decided a dispute.
    event Revoked(bytes32 indexed datanet, address indexed contributor, bytes32 indexed root, address by);

    error ContributionExists(bytes32 datanet, address contributor, bytes32 root);
    error ContributionUnknown(bytes32 datanet, address contributor, bytes32 root);
    error ContributionNotPending(bytes32 datanet, address contributor, bytes32 root, Status status);
    error ContributionIsRevoked(bytes32 datanet, address contributor, bytes32 root);
    error ContributionExpired(uint64 deadline);
    error ContributionEmpty();
    error ContributorRefused(bytes32 datanet, address contributor);
    error WithdrawalExpired(uint64 deadline);
    error NotOwner(bytes32 datanet, address caller);
    error RootEmpty();
    error SignatureInvalid(address signer);

    constructor(DatanetRegistry datanets) {
        DATANETS = datanets;
    }

    function initialize(address authority) external initializer {
        __AccessManaged_init(authority);
        __EIP712_init("OpenLedger", "1");
    }

    /// Offers one row to a Datanet; `da` says where its body is.
    ///
    /// The cheapest thing here, because it happens most: one slot and one event. Nothing is read,
    /// not even whether there is such a Datanet; its owner looks when accepting.
    function contribute(bytes32 datanet, bytes32 root, bytes32 da) external {
        _add(datanet, msg.sender, root, 1 << ROWS | PENDING);
        emit Submitted(datanet, msg.sender, root, da);
    }

    /// Offers `rows` rows at once; `root` is the root over them.
    function contributeBatch(bytes32 datanet, bytes32 root, uint64 rows, bytes32 da) external {
        if (rows == 0) revert ContributionEmpty();
        _add(datanet, msg.sender, root, uint256(rows) << ROWS | PENDING);
        emit SubmittedBatch(datanet, msg.sender, root, rows, da);
    }

    /// Records a contribution that the caller, the Datanet's owner, accepts. The contributor signed
    /// it and pays no gas.
    function record(Contribution calldata c, bytes calldata signature)
        external
        whenOpen(PAUSE_RECORD)
        returns (bytes32 contribution)
    {
        if (c.rows == 0) revert ContributionEmpty();
        if (block.timestamp > c.deadline) revert ContributionExpired(c.deadline);
        _checkIntake(c.datanet, c.contributor);
        _add(c.datanet, c.contributor, c.root, uint256(c.rows) << ROWS | ACCEPTED);
        contribution = hashOf(c);
        _checkSignature(c.contributor, contribution, signature);
        emit Contributed(c.datanet, c.contributor, contribution, c.root, c.rows, c.terms);
    }

    /// Accepts what a contributor offered to the caller's Datanet.
    function accept(bytes32 datanet, address contributor, bytes32 root) external whenOpen(PAUSE_ACCEPT) {
        _checkIntake(datanet, contributor);
        _decide(datanet, contributor, root, Status.Accepted);
        emit Accepted(datanet, contributor, root);
    }

    /// Rejects what a contributor offered to the caller's Datanet.
    function reject(bytes32 datanet, address contributor, bytes32 root) external {
        if (DATANETS.ownerOf(datanet) != msg.sender) revert NotOwner(datanet, msg.sender);
        _decide(datanet, contributor, root, Status.Rejected);
        emit Rejected(datanet, contributor, root);
    }

    /// Takes back the caller's consent, for what was contributed or for what was only signed and
    /// must not be recorded any more.
    function revoke(bytes32 datanet, bytes32 root) external {
        _revoke(datanet, msg.sender, root);
        emit Revoked(datanet, msg.sender, root, msg.sender);
    }

    /// Takes back the consent of the contributor who signed so; anybody may bring the statement.
    function revokeBySig(Withdrawal calldata w, bytes calldata signature) external {
        if (block.timestamp > w.deadline) revert WithdrawalExpired(w.deadline);
        _revoke(w.datanet, w.contributor, w.root);
        _checkSignature(w.contributor, hashOf(w), signature);
        emit Revoked(w.datanet, w.contributor, w.root, w.contributor);
    }

    /// Throws out a contribution that lost a dispute.
    function revokeDisputed(bytes32 datanet, address contributor, bytes32 root) external restricted {
        if (statusOf(datanet, contributor, root) == Status.None) {
            revert ContributionUnknown(datanet, contributor, root);
        }
        _revoke(datanet, contributor, root);
        emit Revoked(datanet, contributor, root, msg.sender);
    }

    /// When it came, of how many rows it is, what became of it; a name without an entry has status
    /// `None`.
    function contributions(bytes32 datanet, address contributor, bytes32 root) external view returns (Entry memory) {
        uint256 word = _packed(datanet, contributor, root).word;
        return Entry({recordedAt: uint40(word), rows: uint64(word >> ROWS), status: Status(word >> STATUS)});
    }

    function statusOf(bytes32 datanet, address contributor, bytes32 root) public view returns (Status) {
        return Status(_packed(datanet, contributor, root).word >> STATUS);
    }

    function pausable() public pure override returns (uint128) {
        return uint128(1) << PAUSE_RECORD | uint128(1) << PAUSE_ACCEPT;
    }

    /// Takes a name that is free, for an entry with these rows and this status.
    function _add(bytes32 datanet, address contributor, bytes32 root, uint256 word) private {
        if (root == bytes32(0)) revert RootEmpty();
        Packed storage p = _packed(datanet, contributor, root);
        if (p.word != 0) revert ContributionExists(datanet, contributor, root);
        p.word = block.timestamp | word;
    }

    /// Moves a name on from `Pending`.
    function _decide(bytes32 datanet, address contributor, bytes32 root, Status status) private {
        Status before = statusOf(datanet, contributor, root);
        if (before != Status.Pending) revert ContributionNotPending(datanet, contributor, root, before);
        _setStatus(datanet, contributor, root, status);
    }

    function _revoke(bytes32 datanet, address contributor, bytes32 root) private {
        if (statusOf(datanet, contributor, root) == Status.Revoked) {
            revert ContributionIsRevoked(datanet, contributor, root);
        }
        _setStatus(datanet, contributor, root, Status.Revoked);
    }

    function _setStatus(bytes32 datanet, address contributor, bytes32 root, Status status) private {
        Packed storage p = _packed(datanet, contributor, root);
        p.word = p.word & ((uint256(1) << STATUS) - 1) | uint256(status) << STATUS;
    }

    function _checkIntake(bytes32 datanet, address contributor) private view {
        (address owner, bool open) = DATANETS.intake(datanet, contributor);
        if (owner != msg.sender) revert NotOwner(datanet, msg.sender);
        if (!open) revert ContributorRefused(datanet, contributor);
    }

    function _checkSignature(address signer, bytes32 statement, bytes calldata signature) private view {
        if (!SignatureChecker.isValidSignatureNow(signer, _hashTypedDataV4(statement), signature)) {
            revert SignatureInvalid(signer);
        }
    }

    function _packed(bytes32 datanet, address contributor, bytes32 root) private view returns (Packed storage) {
        return _storage().entries[datanet][contributor][root];
    }

    function _storage() private pure returns (ContributionStorage storage $) {
        assembly {
            $.slot := CONTRIBUTION_STORAGE
        }
    }
}
