// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Pausing} from "../access/Pausing.sol";

/// Pays rewards by cumulative Merkle claims.
///
/// Each root commits to what every account has earned since the beginning, so one claim pays any
/// number of epochs and no claim pays twice. A root can be claimed against after its activation
/// time, which is fixed when it is submitted; until then a guardian can veto it. Nobody can take
/// money out but by a claim.
contract RewardDistributor is Pausing, EIP712, Nonces {
    using SafeERC20 for IERC20;

    struct Root {
        bytes32 root;
        uint128 total;
        uint40 activatesAt;
        bool disabled;
    }

    struct Claim {
        address account;
        uint256 cumulative;
        bytes32[] proof;
    }

    uint8 public constant SUBMIT = 0;
    uint8 public constant FUND = 1;
    uint8 public constant CLAIM = 2;
    uint40 public constant MAX_DELAY = 30 days;
    uint256 public constant MAX_PROOF = 32;

    bytes32 private constant SET_CLAIMER_TYPEHASH =
        keccak256("SetClaimer(address account,address claimer,uint256 nonce,uint64 deadline)");

    IERC20 public immutable TOKEN;

    /// All money ever put in.
    uint256 public funded;
    /// How many roots were submitted.
    uint256 public length;
    mapping(uint256 index => Root) public roots;
    /// What each account has been paid.
    mapping(address account => uint256 amount) public claimed;
    /// Who gets an account's money in its place, zero for nobody.
    mapping(address account => address claimer) public claimers;
    /// Seconds between the submission of a root and its activation.
    uint40 public activationDelay;

    event Funded(address indexed from, uint256 amount);
    event RootSubmitted(uint256 indexed index, bytes32 root, bytes32 body, uint128 total, uint40 activatesAt);
    event RootDisabled(uint256 indexed index, address indexed by);
    event Claimed(uint256 indexed index, address indexed account, uint256 amount, uint256 cumulative);
    event ClaimerChanged(address indexed account, address indexed claimer);
    event ActivationDelayChanged(uint40 delay);

    error NothingToFund();
    error RootEmpty();
    error RootUnknown(uint256 index);
    error RootPending(uint256 index, uint40 activatesAt);
    error RootActive(uint256 index, uint40 activatesAt);
    error RootIsDisabled(uint256 index);
    error TotalFalls(uint256 total, uint256 before);
    error TotalNotFunded(uint256 total, uint256 funded);
    error ProofInvalid(address account, uint256 cumulative);
    error ProofTooLong(uint256 length);
    error NothingToClaim(address account, uint256 cumulative);
    error SignatureExpired(uint64 deadline);
    error SignatureInvalid(address account);
    error DelayTooLong(uint40 delay, uint40 most);

    constructor(address authority, IERC20 token, uint40 delay) AccessManaged(authority) EIP712("OpenLedger", "1") {
        TOKEN = token;
        _setActivationDelay(delay);
    }

    function pausable() public pure override returns (uint128 all, uint128 exits) {
        exits = uint128(1) << CLAIM;
        all = exits | (uint128(1) << SUBMIT) | (uint128(1) << FUND);
    }

    /// Puts money in, for roots to commit to.
    function fund(uint256 amount) external whenOpen(FUND) {
        if (amount == 0) revert NothingToFund();
        funded += amount;
        emit Funded(msg.sender, amount);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// Submits a root that commits to `total` in all, at least as much as the last one standing and
    /// no more than was put in. `body` is the keccak-256 of the published leaves.
    ///
    /// That leaves sum up to `total` cannot be seen here: whoever watches compares them in the
    /// activation delay, in which the guardian vetoes what is wrong.
    function submitRoot(bytes32 root, bytes32 body, uint128 total)
        external
        restricted
        whenOpen(SUBMIT)
        returns (uint256 index)
    {
        if (root == bytes32(0)) revert RootEmpty();
        uint256 before = lastTotal();
        if (total < before) revert TotalFalls(total, before);
        if (total > funded) revert TotalNotFunded(total, funded);
        index = length++;
        uint40 activatesAt = uint40(block.timestamp) + activationDelay;
        roots[index] = Root({root: root, total: total, activatesAt: activatesAt, disabled: false});
        emit RootSubmitted(index, root, body, total, activatesAt);
    }

    /// Stops a root that is not active yet.
    function veto(uint256 index) external restricted {
        Root storage r = _root(index);
        if (block.timestamp >= r.activatesAt) revert RootActive(index, r.activatesAt);
        _disable(index, r);
    }

    /// Stops a root, active or not.
    function disable(uint256 index) external restricted {
        _disable(index, _root(index));
    }

    /// Sets the delay of roots submitted from now on; those submitted keep their time.
    function setActivationDelay(uint40 delay) external restricted {
        _setActivationDelay(delay);
    }

    /// Has the caller's money paid to `claimer` from now on, to the caller itself for zero.
    ///
    /// What the caller signed before counts no more, so that nobody can bring it up later.
    function setClaimer(address claimer) external {
        _useNonce(msg.sender);
        _setClaimer(msg.sender, claimer);
    }

    /// Has `account`'s money paid to `claimer`, by its signature of
    /// SetClaimer(address account,address claimer,uint256 nonce,uint64 deadline), also a contract's.
    function setClaimerBySig(
        address account,
        address claimer,
        uint256 nonce,
        uint64 deadline,
        bytes calldata signature
    ) external {
        if (block.timestamp > deadline) revert SignatureExpired(deadline);
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(SET_CLAIMER_TYPEHASH, account, claimer, nonce, deadline)));
        if (!SignatureChecker.isValidSignatureNowCalldata(account, digest, signature)) revert SignatureInvalid(account);
        _useCheckedNonce(account, nonce);
        _setClaimer(account, claimer);
    }

    /// Pays what `account` earned by the root at `index` and has not been paid. Anybody may call; the
    /// money goes to the account or to its claimer. `proof` as OpenZeppelin's StandardMerkleTree makes
    /// it for leaves (uint256 chainId, address distributor, address account, address token, uint256 cumulative).
    function claim(uint256 index, address account, uint256 cumulative, bytes32[] calldata proof)
        external
        whenOpen(CLAIM)
        returns (uint256 amount)
    {
        amount = _claim(index, _activeRoot(index), account, cumulative, proof);
        if (amount == 0) revert NothingToClaim(account, cumulative);
    }

    /// Pays many accounts by one root. Those already paid are passed over: otherwise whoever claims
    /// for one of them first would stop all the others.
    function claimMany(uint256 index, Claim[] calldata claims) external whenOpen(CLAIM) returns (uint256 total) {
        bytes32 root = _activeRoot(index);
        for (uint256 i = 0; i < claims.length; ++i) {
            total += _claim(index, root, claims[i].account, claims[i].cumulative, claims[i].proof);
        }
    }

    /// What the last root that was not disabled commits to.
    function lastTotal() public view returns (uint256) {
        for (uint256 i = length; i > 0; --i) {
            if (!roots[i - 1].disabled) return roots[i - 1].total;
        }
        return 0;
    }

    function _claim(uint256 index, bytes32 root, address account, uint256 cumulative, bytes32[] calldata proof)
        private
        returns (uint256 amount)
    {
        if (proof.length > MAX_PROOF) revert ProofTooLong(proof.length);
        bytes32 leaf = keccak256(
            bytes.concat(keccak256(abi.encode(block.chainid, address(this), account, address(TOKEN), cumulative)))
        );
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert ProofInvalid(account, cumulative);
        uint256 before = claimed[account];
        if (cumulative <= before) return 0;
        amount = cumulative - before;
        claimed[account] = cumulative;
        emit Claimed(index, account, amount, cumulative);
        address claimer = claimers[account];
        TOKEN.safeTransfer(claimer == address(0) ? account : claimer, amount);
    }

    function _root(uint256 index) private view returns (Root storage r) {
        r = roots[index];
        if (r.root == bytes32(0)) revert RootUnknown(index);
    }

    function _activeRoot(uint256 index) private view returns (bytes32) {
        Root memory r = _root(index);
        if (r.disabled) revert RootIsDisabled(index);
        if (block.timestamp < r.activatesAt) revert RootPending(index, r.activatesAt);
        return r.root;
    }

    function _disable(uint256 index, Root storage r) private {
        if (r.disabled) revert RootIsDisabled(index);
        r.disabled = true;
        emit RootDisabled(index, msg.sender);
    }

    function _setClaimer(address account, address claimer) private {
        claimers[account] = claimer;
        emit ClaimerChanged(account, claimer);
    }

    function _setActivationDelay(uint40 delay) private {
        if (delay > MAX_DELAY) revert DelayTooLong(delay, MAX_DELAY);
        activationDelay = delay;
        emit ActivationDelayChanged(delay);
    }
}
