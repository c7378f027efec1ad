import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { ShoalError } from '../base/errors.ts'
import { type SigningKey, seedBytes, signingKey } from './ed25519.ts'

const maxPhraseLength = 512
const wordCount = 24

/** The root key of a mesh as 24 words (BIP-39, English). The words are the seed itself: no passphrase, no stretching. */
export function phraseOf(seed: Uint8Array): string {
  return entropyToMnemonic(seed, wordlist)
}

/**
 * Reads what a person typed: case and white space do not matter.
 * @returns the seed, and the key pair that follows from it
 * @throws ShoalError ERR_RECOVERY_PHRASE, which never says a word of the phrase
 */
export function rootFromPhrase(phrase: string): { seed: Uint8Array; key: SigningKey } {
  if (phrase.length > maxPhraseLength) throw new ShoalError('ERR_RECOVERY_PHRASE', 'it is too long')
  const words = phrase.trim().toLowerCase().split(/\s+/)
  if (words.length !== wordCount) throw new ShoalError('ERR_RECOVERY_PHRASE', `it has ${words.length} words`)
  const unknown = words.findIndex((word) => !wordlist.includes(word))
  if (unknown !== -1) throw new ShoalError('ERR_RECOVERY_PHRASE', `word ${unknown + 1} is not in the list`)
  const seed = checked(words)
  return { seed, key: signingKey(seed) }
}

function checked(words: readonly string[]): Uint8Array {
  try {
    const seed = mnemonicToEntropy(words.join(' '), wordlist)
    if (seed.length === seedBytes) return seed
  } catch (error) {
    // The words are known and 24, so only their checksum is left. The library's message could quote them.
    if (!(error instanceof Error)) throw error
  }
  throw new ShoalError('ERR_RECOVERY_PHRASE', 'a word is wrong, or two have changed places')
}
