// SPDX-License-Identifier: MIT
//
// One invocation goes over all of the first buffer, @times times: first[i] =
// value, and what else stood there goes to second[i].  The accesses are atomic,
// so that no compiler leaves one out.
#version 450

layout(local_size_x = 1) in;
layout(std430, binding = 0) buffer First { uint first[]; };
layout(std430, binding = 1) buffer Second { uint second[]; };
layout(push_constant) uniform Arguments {
	uint words;
	uint value;
	uint times;
};

void main()
{
	for (uint n = 0u; n < times; n++) {
		for (uint i = 0u; i < words; i++) {
			uint seen = atomicExchange(first[i], value);

			if (seen != value)
				second[i] = seen;
		}
	}
}
