import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Links } from '../../src/market/links.ts'

describe('a lender whose bids were worth nothing', () => {
  it('is left alone for longer the second time, and never for long: what is asked for next may be worth it', () => {
    const links = new Links()
    links.refuse('ben', 0)
    assert.deepEqual([links.isRefused('ben', 79), links.isRefused('ben', 80)], [true, false])
    let now = 1000
    links.refuse('ben', now)
    assert.equal(links.isRefused('ben', now + 81), true)
    for (let times = 0; times < 20; times++) {
      now += 1000
      links.refuse('ben', now)
    }
    assert.equal(links.isRefused('ben', now + 160), false)
  })

  it('is asked as before once something was worth sending there', () => {
    const links = new Links()
    for (const at of [0, 500, 1000]) links.refuse('ben', at)
    links.accept('ben')
    links.refuse('ben', 2000)
    assert.equal(links.isRefused('ben', 2080), false)
  })
})
