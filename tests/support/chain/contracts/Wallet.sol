// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Signatures} from "./Signatures.sol";

/// A contract wallet (EIP-1271) that obeys the key whose address follows the key's own signature:
/// 65 bytes, then 20. The owner is told once.
contract Wallet {
    address public owner;

    function own(address key) external {
        require(owner == address(0), "owned");
        owner = key;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        bool held = signature.length == 85 && address(bytes20(signature[65:])) == owner
            && Signatures.holds(owner, digest, signature[:65]);
        return held ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}
