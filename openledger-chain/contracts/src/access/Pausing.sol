// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

/// One switch per function, and a rule about the switches on the way out.
///
/// Functions by which people take out their own money ("exits") can be paused only when everything
/// else is, for `EXIT_PAUSE` at most, and not again for `EXIT_GAP` after that: a guardian that is
/// compromised can delay people but not hold their money.
abstract contract Pausing is AccessManaged {
    struct Switches {
        uint128 flags;
        uint40 exitsUntil;
    }

    uint40 public constant EXIT_PAUSE = 7 days;
    uint40 public constant EXIT_GAP = 30 days;

    Switches private _switches;

    event Paused(uint128 flags, address indexed by);
    event Unpaused(uint128 flags, address indexed by);

    error FunctionPaused(uint8 flag);
    error FlagsUnknown(uint128 flags);
    error ExitsPausedBeforeTheRest(uint128 flags);
    error ExitsPausedLately(uint40 until);

    modifier whenOpen(uint8 flag) {
        if (isPaused(flag)) revert FunctionPaused(flag);
        _;
    }

    /// Pauses the functions whose bits are set in `flags`.
    function pause(uint128 flags) external restricted {
        (uint128 all, uint128 exits) = pausable();
        if (flags == 0 || flags & ~all != 0) revert FlagsUnknown(flags);
        Switches memory s = _switches;
        if (flags & exits != 0) {
            if ((s.flags | flags) & ~exits != all & ~exits) revert ExitsPausedBeforeTheRest(flags);
            if (s.exitsUntil != 0 && block.timestamp < s.exitsUntil + EXIT_GAP) revert ExitsPausedLately(s.exitsUntil);
            s.exitsUntil = uint40(block.timestamp) + EXIT_PAUSE;
        }
        _switches = Switches({flags: s.flags | flags, exitsUntil: s.exitsUntil});
        _afterSwitch();
        emit Paused(flags, msg.sender);
    }

    /// Opens the functions whose bits are set in `flags`, and with any of them the exits: exits must
    /// not stay shut while something else is open.
    function unpause(uint128 flags) external restricted {
        (uint128 all, uint128 exits) = pausable();
        if (flags == 0 || flags & ~all != 0) revert FlagsUnknown(flags);
        flags |= exits;
        _switches.flags &= ~flags;
        _afterSwitch();
        emit Unpaused(flags, msg.sender);
    }

    /// Whether the function with this flag is paused now.
    function isPaused(uint8 flag) public view returns (bool) {
        Switches memory s = _switches;
        // slither-disable-next-line incorrect-equality -- a bit is set or not
        if (s.flags & (uint128(1) << flag) == 0) return false;
        (, uint128 exits) = pausable();
        return exits & (uint128(1) << flag) == 0 || block.timestamp < s.exitsUntil;
    }

    /// The bits in use, and among them those of exits.
    function pausable() public pure virtual returns (uint128 all, uint128 exits);

    /// For contracts that keep a copy of a switch where they read anyway.
    function _afterSwitch() internal virtual {}
}
