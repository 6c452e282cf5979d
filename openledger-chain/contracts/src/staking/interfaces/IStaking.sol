// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Role} from "../Role.sol";

/// What a dispute needs of staking: who may judge, and how much there is to lose.
interface IStaking {
    function INSURANCE() external view returns (address);

    function getPastStake(Role role, address operator, uint48 time) external view returns (uint256);

    function getPastTotalStake(Role role, uint48 time) external view returns (uint256);

    function slashableOf(Role role, address operator) external view returns (uint256);

    function proposeSlash(Role role, address operator, uint16 bps, bytes32 evidence) external returns (uint256 id);

    function addPenalty(Role role, address operator, uint64 points) external;
}
