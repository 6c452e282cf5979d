// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

/// How an inference's fee is divided, in basis points, and who gets the parts that are not the
/// model's and the contributors'.
contract FeePolicy is AccessManaged {
    struct Split {
        uint16 platform;
        uint16 model;
        uint16 stakers;
        uint16 contributors;
    }

    Split public split;
    address public treasury;
    address public stakingPool;

    event SplitChanged(Split split);
    event AccountsChanged(address treasury, address stakingPool);

    error SplitNotWhole(uint256 sum);
    error AccountEmpty();

    constructor(address authority, address treasury_, address stakingPool_) AccessManaged(authority) {
        _setSplit(Split({platform: 1000, model: 2000, stakers: 2000, contributors: 5000}));
        _setAccounts(treasury_, stakingPool_);
    }

    function setSplit(Split calldata split_) external restricted {
        _setSplit(split_);
    }

    function setAccounts(address treasury_, address stakingPool_) external restricted {
        _setAccounts(treasury_, stakingPool_);
    }

    function _setSplit(Split memory s) private {
        uint256 sum = uint256(s.platform) + s.model + s.stakers + s.contributors;
        if (sum != 10_000) revert SplitNotWhole(sum);
        split = s;
        emit SplitChanged(s);
    }

    function _setAccounts(address treasury_, address stakingPool_) private {
        if (treasury_ == address(0) || stakingPool_ == address(0)) revert AccountEmpty();
        (treasury, stakingPool) = (treasury_, stakingPool_);
        emit AccountsChanged(treasury_, stakingPool_);
    }
}
