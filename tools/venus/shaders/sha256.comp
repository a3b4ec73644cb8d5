// SPDX-License-Identifier: MIT
//
// SHA-256 of each block of @words words of the first buffer; the digests go to
// the second one, 8 words each, in the byte order in which they are printed.
// One invocation does one block.  @words is a multiple of 16.
#version 450

layout(local_size_x = 64) in;
layout(std430, binding = 0) readonly buffer Input { uint data[]; };
layout(std430, binding = 1) writeonly buffer Digests { uint digests[]; };
layout(push_constant) uniform Arguments {
	uint words;
	uint blocks;
};

const uint K[64] = uint[64](
	0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
	0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
	0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
	0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
	0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
	0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
	0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
	0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
	0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
	0xc67178f2u);

uint swap(uint x)
{
	return (x >> 24) | ((x >> 8) & 0xff00u) | ((x << 8) & 0xff0000u) | (x << 24);
}

uint ror(uint x, uint n)
{
	return (x >> n) | (x << (32u - n));
}

// The 16 words in w, which are used up, go into h.
void compress(inout uint h[8], inout uint w[16])
{
	uint s[8] = h;

	for (uint i = 0u; i < 64u; i++) {
		uint word = w[i & 15u];

		if (i >= 16u) {
			uint a = w[(i + 1u) & 15u], b = w[(i + 14u) & 15u];

			word += (ror(a, 7u) ^ ror(a, 18u) ^ (a >> 3)) + w[(i + 9u) & 15u] +
				(ror(b, 17u) ^ ror(b, 19u) ^ (b >> 10));
			w[i & 15u] = word;
		}

		uint t1 = s[7] + (ror(s[4], 6u) ^ ror(s[4], 11u) ^ ror(s[4], 25u)) +
			  ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + word;
		uint t2 = (ror(s[0], 2u) ^ ror(s[0], 13u) ^ ror(s[0], 22u)) +
			  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		s = uint[8](t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]);
	}
	for (uint i = 0u; i < 8u; i++)
		h[i] += s[i];
}

void main()
{
	uint block = gl_GlobalInvocationID.x;
	uint h[8] = uint[8](0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu,
			    0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u);
	uint w[16];

	if (block >= blocks)
		return;
	for (uint at = 0u; at < words; at += 16u) {
		for (uint i = 0u; i < 16u; i++)
			w[i] = swap(data[block * words + at + i]);
		compress(h, w);
	}
	// The padding of a message of whole 64-byte pieces: one piece more.
	w[0] = 0x80000000u;
	for (uint i = 1u; i < 15u; i++)
		w[i] = 0u;
	w[15] = words * 32u;
	compress(h, w);
	for (uint i = 0u; i < 8u; i++)
		digests[block * 8u + i] = swap(h[i]);
}
