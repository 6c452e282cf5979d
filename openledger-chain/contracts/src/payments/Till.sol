// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// A plain address that x402 clients pay to, which only the escrow that made it can empty.
///
/// It has no functions: all it ever does is to allow its maker everything, when it is made.
contract Till {
    using SafeERC20 for IERC20;

    constructor(IERC20 token) {
        token.forceApprove(msg.sender, type(uint256).max);
    }
}
