// SPDX-License-Identifier: MIT
//
// A meeting of the shader and the CPU while the shader runs.  In each round the
// shader says the round's number in word 0 of the third buffer and waits until
// the CPU says the same number in word 1; word 2 is the rounds that came to
// their end, word 3 is 1 when the shader has left.  What comes after it in the
// command buffer, behind a barrier, starts when the last round is over.
//
// It gives up after @spins looks in one round: a test that has failed must not
// leave a shader behind that runs for ever.  All words are accessed atomically,
// which no compiler may move out of the loop.
#version 450

layout(local_size_x = 1) in;
layout(std430, binding = 2) buffer Gate { uint gate[]; };
layout(push_constant) uniform Arguments {
	uint rounds;
	uint spins;
};

void main()
{
	uint done = 0u;

	for (uint n = 1u; n <= rounds && done == n - 1u; n++) {
		atomicExchange(gate[0], n);
		for (uint i = 0u; i < spins; i++) {
			if (atomicOr(gate[1], 0u) >= n) {
				done = n;
				break;
			}
		}
	}
	atomicExchange(gate[2], done);
	atomicExchange(gate[3], 1u);
}
