// What both pages have in common: they name the endpoint and list what was received.
import './page.css'
import { endpoint } from './endpoint.js'

document.querySelector('#endpoint').textContent = endpoint
document.querySelector('#other').search = location.search

export function received(name, url) {
  const link = document.createElement('a')
  link.href = url
  link.textContent = name
  const item = document.createElement('li')
  item.append(link)
  document.querySelector('#received').append(item)
}
