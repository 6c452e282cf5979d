// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Pausing} from "../access/Pausing.sol";

/// Batches of receipts: a Merkle root on chain, the receipts themselves where anyone can fetch them.
///
/// A batch is named by its node and its root, so nobody can take another's name. It is open to
/// challenges for the node's window; when that has passed and no challenge is open it is final, and
/// the node may be paid for it.
///
/// ```text
/// log ──▶ Logged ──▶ final at finalAt, once no challenge holds it
///            └─ hold ─▶ held ─┬─ release ─▶ Logged
///                             └─ reject ──▶ Rejected, for ever
/// ```
contract AttributionLog is Pausing {
    enum Status {
        None,
        Logged,
        Rejected
    }

    /// A batch, one storage slot.
    struct Entry {
        uint40 loggedAt;
        uint40 finalAt;
        uint40 receipts;
        Status status;
        uint16 openChallenges;
    }

    /// All that `log` must know beside the entry, in one slot: this is the hot path, and each slot
    /// more would cost a node 2,100 gas a batch.
    struct Node {
        bool admitted;
        bool paused;
        uint40 window;
        uint16 place;
    }

    uint8 public constant LOG = 0;
    /// Pausing writes to every node's slot, so their number is bounded.
    uint256 public constant MAX_NODES = 256;
    uint256 public constant MAX_PROOF = 32;
    uint40 public constant MAX_WINDOW = 30 days;
    uint40 public constant DEFAULT_WINDOW = 1 days;

    /// Seconds in which a batch can be challenged, for nodes admitted or synced from now on.
    uint40 public window;
    mapping(address node => Node) public nodes;
    mapping(address node => mapping(bytes32 root => Entry)) public entries;
    address[] private _admitted;

    event NodeAdmitted(address indexed node, uint40 window);
    event NodeExpelled(address indexed node);
    event NodeSynced(address indexed node, uint40 window);
    event WindowChanged(uint40 window);
    event BatchLogged(
        address indexed node, bytes32 indexed model, bytes32 indexed root, uint64 epoch, bytes32 body, uint40 receipts
    );
    event BatchHeld(address indexed node, bytes32 indexed root, uint16 openChallenges);
    event BatchReleased(address indexed node, bytes32 indexed root, uint16 openChallenges);
    event BatchRejected(address indexed node, bytes32 indexed root, uint16 openChallenges);

    error BatchEmpty();
    error BatchExists(address node, bytes32 root);
    error BatchUnknown(address node, bytes32 root);
    error BatchFinal(address node, bytes32 root, uint40 finalAt);
    error BatchNotHeld(address node, bytes32 root);
    error BatchIsRejected(address node, bytes32 root);
    error NodeEmpty();
    error NodeNotAdmitted(address node);
    error NodeIsAdmitted(address node);
    error NodesFull(uint256 most);
    error WindowTooLong(uint40 window, uint40 most);
    error ProofTooLong(uint256 length);

    constructor(address authority) AccessManaged(authority) {
        _setWindow(DEFAULT_WINDOW);
    }

    function pausable() public pure override returns (uint128 all, uint128 exits) {
        return (uint128(1) << LOG, 0);
    }

    /// Logs a batch of the caller's receipts for `model`; `body` is the keccak-256 of their
    /// published encoding.
    function log(uint64 epoch, bytes32 model, bytes32 root, bytes32 body, uint40 receipts) external {
        Node memory n = nodes[msg.sender];
        if (!n.admitted) revert NodeNotAdmitted(msg.sender);
        if (n.paused) revert FunctionPaused(LOG);
        if (root == bytes32(0) || receipts == 0) revert BatchEmpty();
        Entry storage entry = entries[msg.sender][root];
        if (entry.status != Status.None) revert BatchExists(msg.sender, root);
        uint40 finalAt = uint40(block.timestamp) + n.window;
        // Field by field: the optimizer makes one write of it, without a copy in memory.
        entry.loggedAt = uint40(block.timestamp);
        entry.finalAt = finalAt;
        entry.receipts = receipts;
        entry.status = Status.Logged;
        emit BatchLogged(msg.sender, model, root, epoch, body, receipts);
    }

    /// Lets `node` log, with today's window.
    function admit(address node) external restricted {
        if (node == address(0)) revert NodeEmpty();
        if (nodes[node].admitted) revert NodeIsAdmitted(node);
        if (_admitted.length == MAX_NODES) revert NodesFull(MAX_NODES);
        nodes[node] =
            Node({admitted: true, paused: isPaused(LOG), window: window, place: uint16(_admitted.length)});
        _admitted.push(node);
        emit NodeAdmitted(node, window);
    }

    /// Stops `node` from logging; what it has logged stands.
    function expel(address node) external restricted {
        Node memory n = nodes[node];
        if (!n.admitted) revert NodeNotAdmitted(node);
        address last = _admitted[_admitted.length - 1];
        _admitted[n.place] = last;
        nodes[last].place = n.place;
        _admitted.pop();
        delete nodes[node];
        emit NodeExpelled(node);
    }

    /// Brings a node's window up to date; anyone may.
    function sync(address node) external {
        if (!nodes[node].admitted) revert NodeNotAdmitted(node);
        nodes[node].window = window;
        emit NodeSynced(node, window);
    }

    /// Sets the window for nodes admitted or synced from now on; batches keep their time.
    function setWindow(uint40 window_) external restricted {
        _setWindow(window_);
    }

    /// Opens a challenge: the batch is not final before it is released.
    function hold(address node, bytes32 root) external restricted {
        Entry storage entry = _entry(node, root);
        if (entry.status == Status.Rejected) revert BatchIsRejected(node, root);
        if (block.timestamp >= entry.finalAt) revert BatchFinal(node, root, entry.finalAt);
        emit BatchHeld(node, root, ++entry.openChallenges);
    }

    /// Ends a challenge that failed.
    function release(address node, bytes32 root) external restricted {
        emit BatchReleased(node, root, _endChallenge(_entry(node, root), node, root));
    }

    /// Ends a challenge that succeeded: the batch is never final.
    function reject(address node, bytes32 root) external restricted {
        Entry storage entry = _entry(node, root);
        uint16 left = _endChallenge(entry, node, root);
        entry.status = Status.Rejected;
        emit BatchRejected(node, root, left);
    }

    /// The nodes that may log.
    function admitted() external view returns (address[] memory) {
        return _admitted;
    }

    /// Whether nothing can happen to the batch any more and it stands.
    function isFinal(address node, bytes32 root) external view returns (bool) {
        Entry memory entry = entries[node][root];
        // slither-disable-next-line incorrect-equality -- a status and a counter
        return entry.status == Status.Logged && block.timestamp >= entry.finalAt && entry.openChallenges == 0;
    }

    /// Whether a receipt is in a batch: `proof` as OpenZeppelin's StandardMerkleTree makes it for
    /// leaves (bytes32).
    function contains(address node, bytes32 root, bytes32 receipt, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        if (proof.length > MAX_PROOF) revert ProofTooLong(proof.length);
        // slither-disable-next-line incorrect-equality -- a status
        if (entries[node][root].status == Status.None) return false;
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(receipt))));
        return MerkleProof.verifyCalldata(proof, root, leaf);
    }

    function _entry(address node, bytes32 root) private view returns (Entry storage entry) {
        entry = entries[node][root];
        if (entry.status == Status.None) revert BatchUnknown(node, root);
    }

    function _endChallenge(Entry storage entry, address node, bytes32 root) private returns (uint16 left) {
        if (entry.openChallenges == 0) revert BatchNotHeld(node, root);
        left = entry.openChallenges - 1;
        entry.openChallenges = left;
    }

    function _setWindow(uint40 window_) private {
        if (window_ > MAX_WINDOW) revert WindowTooLong(window_, MAX_WINDOW);
        window = window_;
        emit WindowChanged(window_);
    }

    /// Copies the switch of `log` to where `log` reads it.
    function _afterSwitch() internal override {
        bool paused = isPaused(LOG);
        for (uint256 i = 0; i < _admitted.length; ++i) {
            nodes[_admitted[i]].paused = paused;
        }
    }
}
