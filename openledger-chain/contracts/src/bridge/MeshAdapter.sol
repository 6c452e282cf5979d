// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {BridgeFungible} from "@openzeppelin/contracts/crosschain/bridges/abstract/BridgeFungible.sol";
import {CrosschainLinked} from "@openzeppelin/contracts/crosschain/CrosschainLinked.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";

/// One chain's end of a token's mesh: every chain has one, and each sends to each.
///
/// All messages go through one gateway, fixed at deployment, and a chain's adapter is set once. What
/// leaves and what arrives is limited, each with a bucket that refills over a day, so that whoever
/// deceives the gateway or a chain gets away with a day's tokens at most. What is over the limit on
/// arrival is not lost: it is delivered when the bucket has refilled. Keep the outgoing limit of every chain
/// at or below the incoming limits of the others, or a large transfer waits for governance.
abstract contract MeshAdapter is BridgeFungible, AccessManaged {
    using InteroperableAddress for bytes;
    using RateLimiter for RateLimiter.RefillingBucket;

    uint48 public constant WINDOW = 1 days;
    bytes32 private constant KEY = bytes32(0); // one bucket per direction, for all chains together

    address public immutable GATEWAY;

    RateLimiter.RefillingBucket private _outgoing;
    RateLimiter.RefillingBucket private _incoming;

    event LimitsChanged(uint208 outgoing, uint208 incoming);

    error AmountZero();
    error ChainNotLinked(uint256 chain);
    error RecipientInvalid(address to);
    error OverLimit(uint256 amount, uint256 available);

    constructor(address authority, address gateway, uint208 outgoing, uint208 incoming)
        AccessManaged(authority)
        CrosschainLinked(new Link[](0))
    {
        GATEWAY = gateway;
        _setLimits(outgoing, incoming);
    }

    /// Names the adapter of another chain, once and for all.
    function link(uint256 chain, address adapter) external restricted {
        if (adapter == address(0) || chain == block.chainid) revert RecipientInvalid(adapter);
        _setLink(GATEWAY, InteroperableAddress.formatEvmV1(chain, adapter), false);
    }

    /// Sets how many tokens a day may leave and arrive; what is used up of today's stays used up.
    function setLimits(uint208 outgoing, uint208 incoming) external restricted {
        _outgoing.sync(KEY);
        _incoming.sync(KEY);
        _setLimits(outgoing, incoming);
    }

    /// Tokens that may leave and arrive now.
    function available() external view returns (uint256 outgoing, uint256 incoming) {
        return (_outgoing.available(KEY), _incoming.available(KEY));
    }

    /// Refuses what could not be delivered, before anything is taken.
    function _crosschainTransfer(address from, bytes memory to, uint256 amount)
        internal
        virtual
        override
        returns (bytes32)
    {
        if (amount == 0) revert AmountZero();
        (uint256 chain, address recipient) = to.parseEvmV1();
        (address gateway, bytes memory counterpart) = getLink(InteroperableAddress.formatEvmV1(chain));
        if (gateway == address(0)) revert ChainNotLinked(chain);
        // slither-disable-next-line unused-return -- the chain is known
        (, address adapter) = counterpart.parseEvmV1();
        if (recipient == address(0) || recipient == adapter) revert RecipientInvalid(recipient);
        _consume(_outgoing, amount);
        return super._crosschainTransfer(from, InteroperableAddress.formatEvmV1(chain, recipient), amount);
    }

    /// To be called when tokens arrive.
    function _consumeIncoming(uint256 amount) internal {
        _consume(_incoming, amount);
    }

    function _consume(RateLimiter.RefillingBucket storage bucket, uint256 amount) private {
        if (!bucket.tryConsume(KEY, amount)) revert OverLimit(amount, bucket.available(KEY));
    }

    function _setLimits(uint208 outgoing, uint208 incoming) private {
        _outgoing.updateSettings(WINDOW, outgoing);
        _incoming.updateSettings(WINDOW, incoming);
        emit LimitsChanged(outgoing, incoming);
    }
}
