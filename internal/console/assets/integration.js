// Tabs of the snippets, by the pattern of the ARIA Authoring Practices. Without this script all of them are shown.
import { make } from './dom.js';
import { copyButtons } from './copy.js';

for (const tabs of document.querySelectorAll('[data-tabs]')) {
  const panels = [...tabs.children];
  const buttons = panels.map((panel) => make('button', {
    type: 'button', role: 'tab', id: `${panel.id}-tab`, 'aria-controls': panel.id,
  }, panel.dataset.title));

  function choose(chosen) {
    panels.forEach((panel, i) => {
      panel.hidden = i !== chosen;
      buttons[i].setAttribute('aria-selected', String(i === chosen));
      buttons[i].tabIndex = i === chosen ? 0 : -1;
    });
  }

  panels.forEach((panel, i) => {
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', `${panel.id}-tab`);
    buttons[i].addEventListener('click', () => choose(i));
    buttons[i].addEventListener('keydown', (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: panels.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const chosen = (to + panels.length) % panels.length;
      choose(chosen);
      buttons[chosen].focus();
    });
  });
  tabs.prepend(make('div', { class: 'tablist', role: 'tablist', 'aria-label': 'Language' }, ...buttons));
  tabs.setAttribute('data-ready', '');
  choose(0);
}
copyButtons();
