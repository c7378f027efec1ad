import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../../src/base/errors.ts'
import { signingKey } from '../../src/mesh/ed25519.ts'
import { phraseOf, rootFromPhrase } from '../../src/mesh/recovery.ts'

const refused = { code: 'ERR_RECOVERY_PHRASE' }

// From the test vectors of BIP-39.
test('24 words stand for a seed', () => {
  const seed = Buffer.from('68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c', 'hex')
  const phrase =
    'hamster diagram private dutch cause delay private meat slide toddler razor book ' +
    'happy fancy gospel tennis maple dilemma loan word shrug inflict delay length'
  assert.equal(phraseOf(new Uint8Array(seed)), phrase)
  const root = rootFromPhrase(`  ${phrase.toUpperCase().replaceAll(' ', ' \n')}`)
  assert.deepEqual(Buffer.from(root.seed), seed)
  assert.deepEqual(root.key.publicKey, signingKey(seed).publicKey)
})

test('every seed comes back from its phrase', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
      assert.deepEqual(new Uint8Array(rootFromPhrase(phraseOf(seed)).seed), new Uint8Array(seed))
    }),
  )
})

test('a wrong phrase is refused, and the words stand in no message', () => {
  const words = phraseOf(new Uint8Array(32).fill(9)).split(' ')
  const swapped = [words[1], words[0], ...words.slice(2)].join(' ')
  const wrong = [
    '',
    words.slice(1).join(' '),
    [...words, words[0]].join(' '),
    swapped,
    ['cargo', ...words.slice(1)].join(' '),
    words.join('-'),
    words.join(' ').repeat(9),
  ]
  for (const phrase of wrong) {
    assert.throws(
      () => rootFromPhrase(phrase),
      (error: Error) => {
        assert.equal(codeOf(error), 'ERR_RECOVERY_PHRASE')
        for (const word of words) assert.ok(!error.message.includes(` ${word} `))
        assert.equal(error.cause, undefined)
        return true
      },
    )
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
      assert.throws(() => rootFromPhrase(text), refused)
    }),
  )
})
