// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

/// The stake of one role, all of it at one price.
///
/// Stake is held in units; a unit is worth `index / RAY` of the token, and the index grows as
/// `base * exp(x - origin)`, where `x` is the integral of the rate over time. So the index is a
/// function of time alone and not of how often somebody looked, and a new rate never reaches back.
struct Pool {
    /// Sum of the units of all vaults.
    uint128 units;
    /// Tokens that belong to them; never less than the units are worth.
    uint128 total;
    /// Tokens put aside to pay the growth.
    uint128 reserve;
    /// Sum of rate times seconds until `since`, where a rate of 1e18 is 100 % a year.
    uint128 exponent;
    /// The exponent at which the index was `base`.
    uint128 origin;
    uint64 rate;
    uint40 since;
    uint256 base;
}

/// Continuous compounding of a pool out of its reserve.
library Compounding {
    using SafeCast for uint256;

    uint256 internal constant RAY = 1e27;
    uint256 internal constant WAD = 1e18;
    uint256 internal constant YEAR = 365 days;
    /// Growth stops at e^80, long before the arithmetic does: nothing here may ever hold an exit.
    uint256 internal constant MAX_EXPONENT = 80e18;

    /// What a unit is worth at `pool.since`, times RAY.
    function index(Pool memory pool) internal pure returns (uint256) {
        uint256 x = Math.min((pool.exponent - pool.origin) / YEAR, MAX_EXPONENT);
        return Math.mulDiv(pool.base, uint256(FixedPointMathLib.expWad(int256(x))), WAD);
    }

    /// Brings `pool` to `time`: grows the index by `exp(rate * t)` and moves what that costs from
    /// the reserve. A reserve that is short pays what is there, to all vaults alike, and what it
    /// could not pay is not owed later. Time without stake costs nothing.
    function accrue(Pool memory pool, uint256 time) internal pure returns (uint256 value, uint256 paid) {
        uint256 before = index(pool);
        pool.exponent += uint128(uint256(pool.rate) * (time - pool.since));
        pool.since = uint40(time);
        if (pool.units == 0) {
            (pool.base, pool.origin) = (before, pool.exponent);
            return (before, 0);
        }
        value = index(pool);
        uint256 owed = Math.mulDiv(pool.units, value, RAY, Math.Rounding.Ceil);
        if (owed <= pool.total) return (value, 0);
        paid = owed - pool.total;
        if (paid > pool.reserve) {
            paid = pool.reserve;
            // From what was paid and not from the total: dust in the total must not lift the price.
            value = Math.min(value, before + Math.mulDiv(paid, RAY, pool.units));
            (pool.base, pool.origin) = (value, pool.exponent);
        }
        pool.reserve -= uint128(paid);
        pool.total += uint128(paid);
    }

    /// The part of its units a vault keeps when its growth from index `from` to `to` is cut by
    /// `bps`: `(from / to)^cut`, so that it grows at `rate * (1 - cut)`, however often it is asked.
    function kept(uint256 units, uint256 from, uint256 to, uint256 bps) internal pure returns (uint256) {
        if (bps == 0 || to <= from) return units;
        int256 ratio = int256(Math.mulDiv(from, WAD, to));
        int256 part = FixedPointMathLib.powWad(ratio, int256(bps * WAD / 10_000));
        return Math.min(units, Math.mulDiv(units, uint256(part), WAD));
    }

    function toAssets(uint256 units, uint256 value) internal pure returns (uint256) {
        return Math.mulDiv(units, value, RAY);
    }

    function toUnits(uint256 assets, uint256 value) internal pure returns (uint256) {
        return Math.mulDiv(assets, RAY, value);
    }
}
