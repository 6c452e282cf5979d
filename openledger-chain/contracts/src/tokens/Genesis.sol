// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {OpenToken} from "./OpenToken.sol";
import {Vesting} from "./Vesting.sol";

/// Who gets OPEN at first.
struct GenesisAccounts {
    address community;
    address investors;
    address team;
    address liquidity;
}

/// The genesis allocation, done by deploying this contract, which keeps nothing.
///
/// ```text
/// community 61.71 %  16.55 free now, 45.16 linear over 48 months
/// investors 18.29 %  12 months nothing, then linear over 36
/// team      15    %  12 months nothing, then linear over 36
/// liquidity  5    %  free now
/// ```
/// So 21.55 % circulates at the start. A month is a twelfth of 365 days.
contract Genesis {
    uint64 public constant MONTH = 365 days / 12;
    uint256 public constant WHOLE = 10_000;
    uint256 public constant COMMUNITY_FREE = 1_655;
    uint256 public constant COMMUNITY_VESTED = 4_516;
    uint256 public constant INVESTORS_VESTED = 1_829;
    uint256 public constant TEAM_VESTED = 1_500;
    uint256 public constant LIQUIDITY_FREE = 500;

    OpenToken public immutable TOKEN;
    Vesting public immutable COMMUNITY;
    Vesting public immutable INVESTORS;
    Vesting public immutable TEAM;

    event Allocated(address indexed to, uint256 amount);

    constructor(GenesisAccounts memory to) {
        uint64 start = uint64(block.timestamp);
        TOKEN = new OpenToken(address(this));
        COMMUNITY = new Vesting(to.community, start, 48 * MONTH);
        INVESTORS = new Vesting(to.investors, start + 12 * MONTH, 36 * MONTH);
        TEAM = new Vesting(to.team, start + 12 * MONTH, 36 * MONTH);
        _allocate(to.community, COMMUNITY_FREE);
        _allocate(address(COMMUNITY), COMMUNITY_VESTED);
        _allocate(address(INVESTORS), INVESTORS_VESTED);
        _allocate(address(TEAM), TEAM_VESTED);
        _allocate(to.liquidity, LIQUIDITY_FREE);
    }

    function _allocate(address to, uint256 share) private {
        uint256 amount = TOKEN.SUPPLY() * share / WHOLE;
        // slither-disable-next-line unchecked-transfer -- the token is ours and reverts
        TOKEN.transfer(to, amount);
        emit Allocated(to, amount);
    }
}
