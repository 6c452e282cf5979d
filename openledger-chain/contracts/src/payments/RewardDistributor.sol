// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// Pays rewards by cumulative Merkle claims.
///
/// Each root commits to what every account has earned since the beginning, so one claim pays any
/// number of epochs and no claim pays twice. A root can be claimed against after its activation
/// time, which is fixed when it is submitted; until then a guardian can veto it. Nobody can take
/// money out but by a claim.
contract RewardDistributor is AccessManaged {
    using SafeERC20 for IERC20;

    struct Root {
        bytes32 root;
        bytes32 body;
        uint128 total;
        uint40 activatesAt;
        bool disabled;
    }

    IERC20 public immutable TOKEN;

    Root[] public roots;
    /// All money ever put in.
    uint256 public funded;
    /// All money ever paid out.
    uint256 public paid;
    /// Seconds between the submission of a root and its activation.
    uint40 public activationDelay;
    /// What each account has been paid.
    mapping(address account => uint256 amount) public claimed;

    event Funded(address indexed from, uint256 amount);
    event RootSubmitted(uint256 indexed index, bytes32 root, bytes32 body, uint128 total, uint40 activatesAt);
    event RootDisabled(uint256 indexed index, address indexed by);
    event Claimed(uint256 indexed index, address indexed account, uint256 amount, uint256 cumulative);
    event ActivationDelayChanged(uint40 delay);

    error RootEmpty();
    error RootUnknown(uint256 index);
    error RootPending(uint256 index, uint40 activatesAt);
    error RootActive(uint256 index, uint40 activatesAt);
    error RootIsDisabled(uint256 index);
    error TotalFalls(uint256 total, uint256 before);
    error TotalNotFunded(uint256 total, uint256 funded);
    error ProofInvalid(address account, uint256 cumulative);
    error NothingToClaim(address account, uint256 cumulative);

    constructor(address authority, IERC20 token, uint40 delay) AccessManaged(authority) {
        TOKEN = token;
        _setActivationDelay(delay);
    }

    function length() external view returns (uint256) {
        return roots.length;
    }

    /// Puts money in, for roots to commit to.
    function fund(uint256 amount) external {
        funded += amount;
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Funded(msg.sender, amount);
    }

    /// Submits a root that commits to `total` in all, at least as much as the last one standing and
    /// no more than was put in. `body` is the keccak-256 of the published leaves.
    function submitRoot(bytes32 root, bytes32 body, uint128 total) external restricted returns (uint256 index) {
        if (root == bytes32(0)) revert RootEmpty();
        uint256 before = lastTotal();
        if (total < before) revert TotalFalls(total, before);
        if (total > funded) revert TotalNotFunded(total, funded);
        index = roots.length;
        uint40 activatesAt = uint40(block.timestamp) + activationDelay;
        roots.push(Root({root: root, body: body, total: total, activatesAt: activatesAt, disabled: false}));
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

    /// Pays `account` what it earned by the root at `index` and has not been paid. Anybody may call;
    /// the money goes to the account. `proof` as OpenZeppelin's StandardMerkleTree makes it for
    /// leaves (uint256 chainId, address distributor, address account, address token, uint256 cumulative).
    function claim(uint256 index, address account, uint256 cumulative, bytes32[] calldata proof)
        external
        returns (uint256 amount)
    {
        Root storage r = _root(index);
        if (r.disabled) revert RootIsDisabled(index);
        if (block.timestamp < r.activatesAt) revert RootPending(index, r.activatesAt);
        bytes32 leaf = keccak256(
            bytes.concat(keccak256(abi.encode(block.chainid, address(this), account, address(TOKEN), cumulative)))
        );
        if (!MerkleProof.verifyCalldata(proof, r.root, leaf)) revert ProofInvalid(account, cumulative);
        uint256 before = claimed[account];
        if (cumulative <= before) revert NothingToClaim(account, cumulative);
        amount = cumulative - before;
        claimed[account] = cumulative;
        paid += amount;
        TOKEN.safeTransfer(account, amount);
        emit Claimed(index, account, amount, cumulative);
    }

    /// What the last root that was not disabled commits to.
    function lastTotal() public view returns (uint256) {
        for (uint256 i = roots.length; i > 0; --i) {
            if (!roots[i - 1].disabled) return roots[i - 1].total;
        }
        return 0;
    }

    function _root(uint256 index) private view returns (Root storage) {
        if (index >= roots.length) revert RootUnknown(index);
        return roots[index];
    }

    function _disable(uint256 index, Root storage r) private {
        if (r.disabled) revert RootIsDisabled(index);
        r.disabled = true;
        emit RootDisabled(index, msg.sender);
    }

    function _setActivationDelay(uint40 delay) private {
        activationDelay = delay;
        emit ActivationDelayChanged(delay);
    }
}
