import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { isSignedBy, isUsableKey, signingKey } from '../../src/mesh/ed25519.ts'

const key = signingKey(new Uint8Array(32).fill(7))
const message = Buffer.from('message')
const order = 2n ** 252n + 27742317777372353535851937790883648493n

// The eight points of small order, then other ways to write two of them, then a y above the field's prime.
const badKeys = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '0100000000000000000000000000000000000000000000000000000000000080',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]

test('a seed gives the key of RFC 8032 and of libp2p', async () => {
  const known = signingKey(Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex'))
  assert.equal(
    Buffer.from(known.publicKey).toString('hex'),
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  )
  assert.equal(
    Buffer.from(known.sign(new Uint8Array())).toString('hex'),
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  )
  const libp2p = await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(7))
  assert.deepEqual(libp2p.publicKey.raw, key.publicKey)
})

test('isSignedBy() accepts the one signature and no second form of it', () => {
  const signature = key.sign(message)
  assert.equal(isSignedBy(key.publicKey, message, signature), true)
  assert.equal(isSignedBy(key.publicKey, Buffer.from('other'), signature), false)
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString('hex')}`)
  for (const added of [order, 2n * order, 2n ** 255n]) {
    const changed = Buffer.from((s + added).toString(16).padStart(64, '0').slice(-64), 'hex').reverse()
    assert.equal(isSignedBy(key.publicKey, message, Buffer.concat([signature.subarray(0, 32), changed])), false)
  }
  for (let bit = 0; bit < 512; bit++) {
    const changed = new Uint8Array(signature)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.equal(isSignedBy(key.publicKey, message, changed), false)
  }
  for (const length of [0, 63, 65]) assert.equal(isSignedBy(key.publicKey, message, new Uint8Array(length)), false)
})

test('keys of small order and keys in another form are none', () => {
  assert.equal(isUsableKey(key.publicKey), true)
  assert.equal(isUsableKey(key.publicKey.subarray(1)), false)
  for (const bad of badKeys) {
    const publicKey = Buffer.from(bad, 'hex')
    assert.equal(isUsableKey(publicKey), false, bad)
    // For the neutral element R = A, s = 0 would fit every message.
    const signature = Buffer.concat([publicKey, new Uint8Array(32)])
    assert.equal(isSignedBy(publicKey, message, signature), false, bad)
  }
})
