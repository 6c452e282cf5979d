// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// How an inference's fee is divided, in basis points, and who gets the parts that are not the
/// model's and the contributors'.
///
/// An epoch is a day of UTC. A change makes a new version that counts from the next epoch on, so
/// nobody can be caught by it in the middle of one; old versions stay readable, so that any epoch can
/// be computed again.
contract FeePolicy is AccessManaged {
    struct Split {
        uint16 platform;
        uint16 model;
        uint16 stakers;
        uint16 contributors;
    }

    struct Policy {
        Split split;
        uint64 epochFrom;
        address treasury;
        address stakingPool;
    }

    uint256 public constant WHOLE = 10_000;
    uint256 public constant EPOCH = 1 days;

    /// The number of the newest version, which may not count yet; the first is 1.
    uint64 public version;
    mapping(uint64 version => Policy) private _policies;

    event PolicyChanged(
        uint64 indexed version, uint64 indexed epochFrom, Split split, address treasury, address stakingPool
    );

    error SplitNotWhole(uint256 sum);
    error AccountEmpty();
    error EpochTooEarly(uint64 epoch, uint64 first);
    error VersionUnknown(uint64 version);

    constructor(address authority, address treasury_, address stakingPool_) AccessManaged(authority) {
        Split memory split_ = Split({platform: 1000, model: 2000, stakers: 2000, contributors: 5000});
        _add(Policy({split: split_, epochFrom: epoch(), treasury: treasury_, stakingPool: stakingPool_}));
    }

    /// Changes the split from the next epoch on.
    function setSplit(Split calldata split_) external restricted {
        Policy memory p = _policies[version];
        (p.split, p.epochFrom) = (split_, epoch() + 1);
        _add(p);
    }

    /// Changes the accounts from the next epoch on.
    function setAccounts(address treasury_, address stakingPool_) external restricted {
        Policy memory p = _policies[version];
        (p.treasury, p.stakingPool, p.epochFrom) = (treasury_, stakingPool_, epoch() + 1);
        _add(p);
    }

    /// A version, whether it counts already or not.
    function policy(uint64 version_) external view returns (Policy memory) {
        if (version_ == 0 || version_ > version) revert VersionUnknown(version_);
        return _policies[version_];
    }

    /// The first epoch of the newest version.
    function epochFrom() external view returns (uint64) {
        return _policies[version].epochFrom;
    }

    /// The split that counts now.
    function split() external view returns (uint16 platform, uint16 model, uint16 stakers, uint16 contributors) {
        Split memory s = policyAt(epoch()).split;
        return (s.platform, s.model, s.stakers, s.contributors);
    }

    /// Who gets the platform's part now.
    function treasury() external view returns (address) {
        return policyAt(epoch()).treasury;
    }

    /// Who gets the stakers' part now.
    function stakingPool() external view returns (address) {
        return policyAt(epoch()).stakingPool;
    }

    /// Divides `fee` by the split of an epoch, losing nothing: parts are floored, and the units left
    /// go one by one to the largest fractions, ties to the earlier part. The Rust crate
    /// `openledger-core` computes the same.
    function divide(uint64 epoch_, uint256 fee)
        external
        view
        returns (uint256 platform, uint256 model, uint256 stakers, uint256 contributors)
    {
        Split memory s = policyAt(epoch_).split;
        uint256[4] memory weights = [uint256(s.platform), s.model, s.stakers, s.contributors];
        // slither-disable-next-line uninitialized-local -- zeros, filled below
        uint256[4] memory parts;
        // slither-disable-next-line uninitialized-local -- zeros, filled below
        uint256[4] memory fractions;
        uint256 left = fee;
        for (uint256 i = 0; i < 4; ++i) {
            parts[i] = Math.mulDiv(fee, weights[i], WHOLE);
            fractions[i] = mulmod(fee, weights[i], WHOLE);
            left -= parts[i];
        }
        for (; left > 0; --left) {
            uint256 best = 0;
            for (uint256 i = 1; i < 4; ++i) {
                if (fractions[i] > fractions[best]) best = i;
            }
            parts[best] += 1;
            fractions[best] = 0;
        }
        return (parts[0], parts[1], parts[2], parts[3]);
    }

    /// The epoch that it is now.
    function epoch() public view returns (uint64) {
        return uint64(block.timestamp / EPOCH);
    }

    /// The policy that counts in `epoch_`. The newest of several made for the same epoch is the one.
    function policyAt(uint64 epoch_) public view returns (Policy memory) {
        for (uint64 v = version; v > 0; --v) {
            if (_policies[v].epochFrom <= epoch_) return _policies[v];
        }
        revert EpochTooEarly(epoch_, _policies[1].epochFrom);
    }

    function _add(Policy memory p) private {
        uint256 sum = uint256(p.split.platform) + p.split.model + p.split.stakers + p.split.contributors;
        if (sum != WHOLE) revert SplitNotWhole(sum);
        if (p.treasury == address(0) || p.stakingPool == address(0)) revert AccountEmpty();
        _policies[++version] = p;
        emit PolicyChanged(version, p.epochFrom, p.split, p.treasury, p.stakingPool);
    }
}
