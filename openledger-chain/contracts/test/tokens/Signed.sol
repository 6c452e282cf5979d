// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Test} from "../Test.sol";
import {Authorization} from "./Authorization.sol";

/// What every token of ours with signed payments keeps; each token's tests inherit these.
abstract contract SignedTest is Test {
    uint256 internal constant KEY = 0xA11CE;
    uint256 internal constant NOW = 1_800_000_000;
    address internal constant PAYEE = address(0xBEEF);
    address internal immutable HOLDER = vm.addr(KEY);

    /// The token, of which HOLDER has at least 100.
    function signed() internal view virtual returns (ERC3009);

    function terms() private view returns (Authorization.Terms memory) {
        return Authorization.Terms({
            from: HOLDER, to: PAYEE, value: 40, validAfter: NOW - 1, validBefore: NOW + 1, nonce: keccak256("n")
        });
    }

    function pay(Authorization.Terms memory t, uint256 key) private {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, Authorization.digest(address(signed()), Authorization.TRANSFER, t));
        signed().transferWithAuthorization(t.from, t.to, t.value, t.validAfter, t.validBefore, t.nonce, v, r, s);
    }

    function receive_(Authorization.Terms memory t, address caller) private {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(KEY, Authorization.digest(address(signed()), Authorization.RECEIVE, t));
        vm.prank(caller);
        signed().receiveWithAuthorization(t.from, t.to, t.value, t.validAfter, t.validBefore, t.nonce, v, r, s);
    }

    function test_a_signed_transfer_is_paid_once() public {
        pay(terms(), KEY);
        assertEq(signed().balanceOf(PAYEE), 40, "paid");
        assertTrue(signed().authorizationState(HOLDER, keccak256("n")), "used");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, HOLDER, keccak256("n")));
        this.payAgain();
    }

    function payAgain() external {
        pay(terms(), KEY);
    }

    function payForged() external {
        pay(terms(), KEY + 1);
    }

    function receiveAs(address caller) external {
        receive_(terms(), caller);
    }

    function test_a_forged_transfer_is_not_paid() public {
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        this.payForged();
    }

    function test_a_signed_transfer_counts_only_between_its_times() public {
        bytes memory wrongTime =
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, NOW - 1, NOW + 1);
        vm.warp(NOW - 1);
        vm.expectRevert(wrongTime);
        this.payAgain();
        vm.warp(NOW + 1);
        vm.expectRevert(wrongTime);
        this.payAgain();
    }

    function test_a_signed_transfer_is_for_one_chain() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(KEY, Authorization.digest(address(signed()), Authorization.TRANSFER, terms()));
        ERC3009 token = signed();
        vm.chainId(block.chainid + 1);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(HOLDER, PAYEE, 40, NOW - 1, NOW + 1, keccak256("n"), v, r, s);
    }

    function test_only_its_receiver_brings_a_signed_receipt() public {
        vm.expectRevert(abi.encodeWithSignature("ERC20InvalidReceiver(address)", PAYEE));
        this.receiveAs(HOLDER);
        this.receiveAs(PAYEE);
        assertEq(signed().balanceOf(PAYEE), 40, "paid");
    }

    function test_an_authorization_can_be_cancelled_by_its_signer() public {
        bytes32 message = keccak256(
            abi.encode(keccak256("CancelAuthorization(address authorizer,bytes32 nonce)"), HOLDER, keccak256("n"))
        );
        bytes32 digest = keccak256(
            abi.encodePacked("\x19\x01", ERC20Permit(address(signed())).DOMAIN_SEPARATOR(), message)
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest);
        signed().cancelAuthorization(HOLDER, keccak256("n"), v, r, s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, HOLDER, keccak256("n")));
        this.payAgain();
    }

    function test_a_permit_allows_and_its_nonce_is_spent() public {
        ERC20Permit token = ERC20Permit(address(signed()));
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 message = keccak256(abi.encode(typehash, HOLDER, PAYEE, 7, 0, NOW));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), message));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest);
        token.permit(HOLDER, PAYEE, 7, NOW, v, r, s);
        assertEq(token.allowance(HOLDER, PAYEE), 7, "allowed");
        assertEq(token.nonces(HOLDER), 1, "spent");
    }
}
