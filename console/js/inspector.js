// placeholder
export class Inspector { constructor(n){this.node=n;} follow(){} applyRoute(){} showCard(){} toggle(){} close(){return false;} }
