// Copy buttons: data-copy names the element whose text they copy.
import { announce, byId } from './dom.js';

// copyText puts a text on the clipboard. Browsers have the modern way on https and on this machine only.
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'unseen';
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (!done) throw new Error('not allowed');
}

// copyButtons makes all copy buttons of the page work.
export function copyButtons() {
  for (const button of document.querySelectorAll('[data-copy]')) {
    const label = button.textContent;
    let timer;
    button.addEventListener('click', async () => {
      const source = byId(button.dataset.copy);
      try {
        await copyText(source.dataset.text ?? source.textContent);
        button.textContent = 'Copied';
        button.classList.add('done');
        announce('Copied');
      } catch {
        button.textContent = 'Not copied';
      }
      clearTimeout(timer);
      timer = setTimeout(() => {
        button.textContent = label;
        button.classList.remove('done');
      }, 2000);
    });
  }
}
