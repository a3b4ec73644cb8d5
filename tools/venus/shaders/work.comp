// SPDX-License-Identifier: MIT
//
// What the tests let the GPU do with memory, a word for each invocation:
//
//	FILL	second[i] = value + i
//	COPY	second[i] = first[i]
//	INVERT	second[i] = ~first[i]
#version 450

layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer First { uint first[]; };
layout(std430, binding = 1) writeonly buffer Second { uint second[]; };
layout(push_constant) uniform Arguments {
	uint op;
	uint words;
	uint value;
};

void main()
{
	uint i = gl_GlobalInvocationID.x;

	if (i >= words)
		return;
	switch (op) {
	case 1u:
		second[i] = value + i;
		break;
	case 2u:
		second[i] = first[i];
		break;
	case 3u:
		second[i] = ~first[i];
		break;
	}
}
